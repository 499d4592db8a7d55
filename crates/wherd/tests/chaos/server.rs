//! The processes: started, killed, stopped, paused, each by its own id.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process};

use crate::herd::{Server, program, settled, wait_for};
use crate::history::Run;

/// One server, through all of its runs.
pub(crate) struct Member {
    pub(crate) name: &'static str,
    /// Where it listens, in every run.
    pub(crate) server: Server,
    folder: PathBuf,
    /// What `serve` is told beside the name of the server.
    arguments: Vec<String>,
    /// A command that ends in running the server, in the place of itself.
    pub(crate) wrapper: Vec<String>,
    process: Mutex<Process>,
    /// How many runs began and ended: odd while a process runs.
    changes: AtomicU32,
    /// Whether the next client that reads an acknowledgement kills it.
    is_targeted: AtomicBool,
}

#[derive(Default)]
struct Process {
    child: Option<Child>,
    /// Wakes the server when this test dies, so that it can die, too.
    pause: Option<Child>,
}

impl Member {
    /// A server that does not run yet. Its configuration is `NAME.toml` in the folder.
    pub(crate) fn new(
        server: Server,
        name: &'static str,
        folder: &Path,
        arguments: &[&str],
    ) -> Self {
        Self {
            name,
            server,
            folder: folder.to_owned(),
            arguments: arguments
                .iter()
                .map(|&argument| argument.to_owned())
                .collect(),
            wrapper: Vec::new(),
            process: Mutex::default(),
            changes: AtomicU32::new(0),
            is_targeted: AtomicBool::new(false),
        }
    }

    /// Which run there is; `None` while there is none.
    pub(crate) fn run(&self) -> Option<Run> {
        let changes = self.changes.load(Ordering::SeqCst);
        (changes % 2 == 1).then_some(Run {
            server: self.name,
            number: changes / 2,
        })
    }

    /// Starts it, and does not wait until it listens.
    pub(crate) fn start(&self) {
        let mut process = self.lock();
        assert!(process.child.is_none(), "{} runs already", self.name);
        let child = self.command().spawn();
        process.child = Some(child.expect("it runs"));
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    fn command(&self) -> Command {
        let words = self.folder.join(format!("{}.err", self.name));
        let words = OpenOptions::new().create(true).append(true).open(words);
        let mut command = program(&self.folder);
        if let Some((first, rest)) = self.wrapper.split_first() {
            let inner = command.get_program().to_owned();
            command = settled(Command::new(first), &self.folder);
            command.args(rest).arg(inner);
        }
        command
            .arg("--config")
            .arg(format!("{}.toml", self.name))
            .args(["serve", self.name, "--stop-with-stdin"])
            .args(["--log-dir", "logs"])
            .args(&self.arguments)
            // It ends with this process, however that ends.
            .stdin(Stdio::piped())
            .stderr(words.expect("a file"));
        command
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
        self.reap();
    }

    /// After SIGTERM: waits until it is gone, and it ended well.
    pub(crate) fn check_stopped(&self) {
        let status = self.reap();
        let is_good = status.is_some_and(|status| status.success());
        assert!(
            is_good,
            "{} after SIGTERM: {status:?}\n{}",
            self.name,
            self.words()
        );
    }

    /// Waits until it is gone, and forgets it. Whoever is just connecting to it knows by the number
    /// of the run which run that was.
    pub(crate) fn reap(&self) -> Option<ExitStatus> {
        let mut process = self.lock();
        let child = process.child.as_mut()?;
        let name = self.name;
        let status = wait_for(&format!("the end of {name}"), || {
            child.try_wait().expect("a child of ours")
        });
        process.child = None;
        self.changes.fetch_add(1, Ordering::SeqCst);
        Some(status)
    }

    /// How it ended, if it did by itself.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        let child = &mut self.lock().child;
        child.as_mut()?.try_wait().expect("a child of ours")
    }

    /// Sends the process a signal, if there is one.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(child) = &self.lock().child {
            // It is not reaped yet, so the id is its own.
            let _ = kill_process(pid(child), signal);
        }
    }

    /// The process, if there is one.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.lock().child.as_ref().map(Child::id)
    }

    /// SIGSTOP. A process that is stopped does not see that its standard input ends, so there is
    /// another one beside it that wakes it then.
    pub(crate) fn pause(&self) {
        let Some(pid) = self.pid() else {
            return;
        };
        let waker = Command::new("sh")
            .args(["-c", "read -r _; kill -CONT \"$0\"", &pid.to_string()])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        self.lock().pause = Some(waker.expect("a shell"));
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
        let waker = self.lock().pause.take();
        if let Some(mut waker) = waker {
            let _ = waker.kill();
            let _ = waker.wait();
        }
    }

    /// The next client that reads an acknowledgement of this server kills it in that moment.
    pub(crate) fn target(&self, is_targeted: bool) {
        self.is_targeted.store(is_targeted, Ordering::SeqCst);
    }

    /// A client has read an acknowledgement; whether that was the end of the server.
    pub(crate) fn acknowledged(&self) -> bool {
        let is_over = self.is_targeted.load(Ordering::Relaxed)
            && self.is_targeted.swap(false, Ordering::SeqCst);
        if is_over {
            self.signal(Signal::KILL);
        }
        is_over
    }

    /// What it complained about, in all of its runs.
    pub(crate) fn words(&self) -> String {
        fs::read_to_string(self.folder.join(format!("{}.err", self.name))).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pid(child: &Child) -> Pid {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    pid.expect("the id of a process")
}

impl Drop for Member {
    fn drop(&mut self) {
        self.resume();
        let child = self.lock().child.take();
        if let Some(mut child) = child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
