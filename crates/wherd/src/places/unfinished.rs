//! A file that is not finished, and is taken away when the program is told to end.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::Signal;
use tempfile::NamedTempFile;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Context as _, Failure};
use crate::output::{beside, put_in_place};

/// What ends the program, when nothing else was asked for.
const ENDING: [Signal; 3] = [Signal::INT, Signal::TERM, Signal::HUP];

/// What a shell says of a program that a signal ended: this and the signal's number.
const SIGNALLED: i32 = 128;

/// Where the unfinished file is, once there is one.
///
/// Whoever creates it or puts it in its place holds the lock, so that a signal comes before or after.
#[derive(Clone, Default)]
pub(super) struct Unfinished(Arc<Mutex<Option<PathBuf>>>);

impl Unfinished {
    /// Listens for signals from here on, in a thread of its own.
    ///
    /// A file that grows beyond what the system allows is an error of writing, no signal.
    pub(super) fn watch() -> Result<Self, Failure> {
        let unfinished = Self::default();
        let what = "listen for signals";
        let runtime = Builder::new_current_thread()
            .enable_io()
            .build()
            .context(what)?;
        let entered = runtime.enter();
        let mut signals = Vec::new();
        for ending in ENDING {
            let kind = SignalKind::from_raw(ending.as_raw());
            signals.push((ending.as_raw(), signal(kind).context(what)?));
        }
        let too_large = SignalKind::from_raw(Signal::XFSZ.as_raw());
        let too_large = signal(too_large).context(what)?;
        drop(entered);
        let watching = unfinished.clone();
        // `nohup` takes the terminal away, and is there to be told of no hang-up.
        let has_terminal = io::stderr().is_terminal();
        std::thread::spawn(move || {
            let _too_large = too_large;
            runtime.block_on(async move {
                let [(_, interrupt), (_, terminate), (_, hang_up)] = &mut signals[..] else {
                    return;
                };
                let number = tokio::select! {
                    _ = interrupt.recv() => ENDING[0],
                    _ = terminate.recv() => ENDING[1],
                    _ = hang_up.recv(), if has_terminal => ENDING[2],
                };
                watching.take_away_and_end(number);
            });
        });
        Ok(unfinished)
    }

    fn lock(&self) -> MutexGuard<'_, Option<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_away_and_end(&self, signal: Signal) {
        // Never given back: nothing is created or renamed any more.
        let path = self.lock();
        if let Some(path) = path.as_deref() {
            let _ = std::fs::remove_file(path);
        }
        std::process::exit(SIGNALLED + signal.as_raw());
    }

    /// Creates the file, beside where it will be.
    pub(super) fn create(&self, path: &Path) -> io::Result<NamedTempFile> {
        let mut at = self.lock();
        let file = beside(path)?;
        *at = Some(file.path().to_owned());
        Ok(file)
    }

    /// Puts the file in its place.
    pub(super) fn finish(&self, file: NamedTempFile, path: &Path) -> Result<(), Failure> {
        let mut at = self.lock();
        put_in_place(file, path)?;
        *at = None;
        Ok(())
    }
}
