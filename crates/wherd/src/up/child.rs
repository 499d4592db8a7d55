//! One server's process, seen from `wherd up`.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{ChildStdin, Command};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use wherd_server::status::PortsFile;

use crate::failure::{Code, Context as _, Failure};
use crate::output::complain;
use crate::serve::ServerOptions;

/// How long the last words of a server that ended are waited for.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(200);

/// What it takes to start a server.
pub(super) struct Start<'a> {
    pub(super) name: &'a str,
    /// Bytes that the longest name takes, so that relayed lines line up.
    pub(super) name_width: usize,
    pub(super) config_file: Option<&'a Path>,
    /// Where it says that it is bound.
    pub(super) ports_file: PathBuf,
    pub(super) options: &'a ServerOptions,
}

/// A server that was started.
pub(super) struct Child {
    name: String,
    process: tokio::process::Child,
    /// Open for as long as the server shall run. Held here because waiting for a process closes
    /// the pipe that it still has.
    _stdin: Option<ChildStdin>,
    ports_file: PathBuf,
    /// Relays what it says; ends when it has said all.
    relay: JoinHandle<()>,
    /// Whether its death has been told.
    is_mourned: bool,
    /// That it was asked to end, for the relay.
    is_stopping: Arc<AtomicBool>,
}

impl Child {
    /// Starts a server without waiting for it.
    pub(super) fn start(start: Start<'_>) -> Result<Self, Failure> {
        let what = || format!("start {}", start.name);
        let program = std::env::current_exe().context(what())?;
        let mut command = Command::new(program);
        arguments(&mut command, &start);
        command
            // It ends with this pipe, so it never outlives us, not even after kill -9.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C at the terminal reaches only us: its second signal would end it at once.
            .process_group(0)
            .kill_on_drop(true);
        let mut process = command.spawn().context(what())?;
        let is_stopping = Arc::new(AtomicBool::new(false));
        let relay = match process.stderr.take() {
            Some(stderr) => tokio::spawn(relay(
                stderr,
                start.name.to_owned(),
                start.name_width,
                Arc::clone(&is_stopping),
            )),
            None => tokio::spawn(std::future::ready(())),
        };
        Ok(Self {
            name: start.name.to_owned(),
            _stdin: process.stdin.take(),
            process,
            ports_file: start.ports_file,
            relay,
            is_mourned: false,
            is_stopping,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens, once it is bound.
    pub(super) fn ports(&self) -> Result<Option<PortsFile>, Failure> {
        let what = || format!("read the ports of {}", self.name);
        let text = match std::fs::read(&self.ports_file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context(what()),
        };
        let ports = serde_json::from_slice(&text).map_err(std::io::Error::other);
        ports.map(Some).context(what())
    }

    /// How it ended, if it has.
    pub(super) fn has_ended(&mut self) -> Result<Option<ExitStatus>, Failure> {
        self.process
            .try_wait()
            .context(format!("watch {}", self.name))
    }

    /// It ended before it was bound. It has said why, and its exit code becomes ours.
    pub(super) async fn failed_to_start(&mut self, status: ExitStatus) -> Failure {
        self.hear_last_words().await;
        let message = format!("{} did not start: {}", self.name, how(status));
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        match code {
            Some(code @ 1..) => {
                complain(format_args!("error: {message}"));
                Failure::silent(code)
            }
            _ => Failure::new(Code::Failed, message),
        }
    }

    /// Waits until it ends by itself, and says so once.
    pub(super) async fn tell_of_death(&mut self) {
        let status = self.process.wait().await;
        if std::mem::replace(&mut self.is_mourned, true) {
            return;
        }
        self.hear_last_words().await;
        say(match status {
            Ok(status) => format!("{} died: {}", self.name, how(status)),
            Err(error) => format!("failed to watch {}: {error}", self.name),
        })
        .await;
    }

    /// Waits until it ends.
    pub(super) async fn ended(&mut self) {
        let _ = self.process.wait().await;
        self.hear_last_words().await;
    }

    async fn hear_last_words(&mut self) {
        if !self.relay.is_finished() {
            let _ = timeout(LAST_WORDS_TIMEOUT, &mut self.relay).await;
        }
    }

    /// Asks it to end.
    pub(super) fn terminate(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        self.signal(Signal::TERM);
    }

    /// Asks it to read its configuration again.
    pub(super) fn reload(&self) {
        self.signal(Signal::HUP);
    }

    fn signal(&self, signal: Signal) {
        // No id means that it has ended and been waited for, so the id is not another process's.
        let pid = self.process.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends it, if it has not ended.
    pub(super) async fn kill(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            let _ = self.process.kill().await;
            let line = format!("{} did not stop, so it was killed", self.name);
            let _ = timeout(LAST_WORDS_TIMEOUT, say(line)).await;
        }
    }
}

fn arguments(command: &mut Command, start: &Start<'_>) {
    if let Some(file) = start.config_file {
        command.arg("--config").arg(file);
    }
    command.args(["serve", start.name, "--stop-with-stdin", "--ports-file"]);
    command.arg(&start.ports_file);
    let options = start.options;
    for (option, value) in [
        ("--data-dir", &options.data_dir),
        ("--log-dir", &options.log_dir),
        ("--places", &options.places),
    ] {
        if let Some(value) = value {
            command.arg(option).arg(value);
        }
    }
    for (option, is_given) in [
        ("--classic", options.classic),
        ("--ephemeral", options.ephemeral),
        ("--keep-old-data", options.keep_old_data),
    ] {
        if is_given {
            command.arg(option);
        }
    }
}

/// Says what a server says, a line at a time, with its name before it. While the herd stops, its
/// links are nobody's concern.
async fn relay(
    output: impl AsyncRead + Unpin,
    name: String,
    width: usize,
    is_stopping: Arc<AtomicBool>,
) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while let Ok(1..) = output.read_until(b'\n', &mut line).await {
        if !is_stopping.load(Ordering::Relaxed) || !line.starts_with(b"link.") {
            let text = String::from_utf8_lossy(&line);
            say(format!("{name:width$} | {}", text.trim_end())).await;
        }
        line.clear();
    }
}

/// Says a line, on a thread that may wait for the terminal: whoever has stopped it can still stop
/// the herd.
async fn say(line: String) {
    let _ = spawn_blocking(move || complain(line)).await;
}

/// "exit code 1", "signal 9".
fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}{}", signal_name(signal)),
        (None, None) => status.to_string(),
    }
}

/// The names of the signals that end servers in practice.
fn signal_name(signal: i32) -> &'static str {
    match signal {
        2 => " (SIGINT)",
        6 => " (SIGABRT)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        15 => " (SIGTERM)",
        _ => "",
    }
}
