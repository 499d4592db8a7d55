//! What disks do: lose bits and ends, refuse to write, and have what they had when the power went.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use wherd_proto::journal::Found;
use wherd_sim::Random;

use crate::herd::wait_for;

/// What happens to a journal while its server is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// So many bits change, anywhere.
    Bits(u32),
    /// The file ends before its end.
    Truncated,
    /// The whole folder is gone.
    Wiped,
}

impl Damage {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Bits(_) => "flipped bits in a journal",
            Self::Truncated => "truncated journal",
            Self::Wiped => "wiped data folder",
        }
    }
}

/// The journal of a server whose data is in `data`.
pub(crate) fn journal(data: &Path, server: &str) -> PathBuf {
    data.join(server).join("journal")
}

/// How many bytes of a journal's file are not room for the next records.
pub(crate) fn records_bytes(bytes: &[u8]) -> usize {
    let room = wherd_proto::journal::scan(bytes).find_map(|found| match found {
        Found::Room { offset, .. } => Some(offset as usize),
        _ => None,
    });
    room.unwrap_or(bytes.len())
}

/// Damages a server's journal; what was done to it.
pub(crate) fn damage(
    data: &Path,
    server: &str,
    damage: Damage,
    random: &mut Random,
) -> io::Result<String> {
    let path = journal(data, server);
    match damage {
        Damage::Bits(count) => {
            let mut bytes = fs::read(&path)?;
            let bits_count = bytes.len() * 8;
            let bits: Vec<usize> = (0..count).map(|_| random.below(bits_count)).collect();
            for bit in &bits {
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            fs::write(&path, &bytes)?;
            let offsets: Vec<usize> = bits.iter().map(|bit| bit / 8).collect();
            Ok(format!("bits at {offsets:?} of {} bytes", bytes.len()))
        }
        Damage::Truncated => {
            let length = records_bytes(&fs::read(&path)?) as u64;
            let rest = random.within(&(0..length));
            OpenOptions::new().write(true).open(&path)?.set_len(rest)?;
            Ok(format!("{rest} of {length} bytes are left"))
        }
        Damage::Wiped => {
            fs::remove_dir_all(data.join(server))?;
            Ok("the folder is gone".to_owned())
        }
    }
}

/// What a disk that fails does to a server that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failing {
    /// The system call: `pwrite64` or `fdatasync`.
    pub(crate) call: &'static str,
    /// What becomes of it: an error's name, or so many milliseconds more.
    pub(crate) how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Error(&'static str),
    SlowMs(u64),
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.how {
            How::Error(name) => write!(f, "{name} of {}", self.call),
            How::SlowMs(ms) => write!(f, "{ms} ms for each {}", self.call),
        }
    }
}

/// Makes the disk fail for one process, until it is dropped.
///
/// `strace` holds the process at these calls on its journal's files and lets them fail. It leaves
/// with the process, if that ends before.
pub(crate) struct Injection(Child);

impl Injection {
    /// Waits until it has begun.
    ///
    /// # Errors
    /// Why it cannot be done here.
    pub(crate) fn begin(
        pid: u32,
        data: &Path,
        server: &str,
        failing: Failing,
        words: &Path,
    ) -> Result<Self, String> {
        Self::after(1, pid, data, server, failing, words)
    }

    /// The same from a later call on: the first that fails is the one of this number, from 1.
    pub(crate) fn after(
        first: u64,
        pid: u32,
        data: &Path,
        server: &str,
        failing: Failing,
        words: &Path,
    ) -> Result<Self, String> {
        let data = data.canonicalize().map_err(|error| error.to_string())?;
        let path = journal(&data, server);
        let Failing { call, how } = failing;
        let what = match how {
            How::Error(name) => format!("inject={call}:error={name}:when={first}+"),
            How::SlowMs(ms) => format!("inject={call}:delay_enter={}", ms * 1000),
        };
        let stderr = File::create(words).map_err(|error| error.to_string())?;
        let child = Command::new("strace")
            .args(["-f", "-o", "/dev/null", "-p", &pid.to_string(), "-P"])
            .arg(&path)
            .arg("-P")
            .arg(path.with_file_name("journal.next"))
            .args(["-e", &format!("trace={call}"), "-e", &what])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err("strace is not installed".to_owned());
            }
            Err(error) => return Err(format!("strace: {error}")),
        };
        let told = || fs::read_to_string(words).unwrap_or_default();
        wait_for("strace at the server", || {
            let ended = child.try_wait().expect("a child of ours");
            match ended {
                Some(_) => Some(Err(format!("strace may not: {}", told().trim()))),
                None => told().contains("attached").then_some(Ok(())),
            }
        })?;
        Ok(Self(child))
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        // It lets go of the process, which SIGKILL would do only most times.
        let _ = kill_process(pid.expect("a process"), Signal::INT);
        let _ = self.0.wait();
    }
}

/// Takes what a disk has of a running server when the power goes: all that is in the files when
/// this begins, a part of what is written meanwhile, and then the room, other zeros, or nothing.
///
/// # Errors
/// When there is no journal.
pub(crate) fn take_image(
    data: &Path,
    server: &str,
    image: &Path,
    random: &mut Random,
) -> io::Result<String> {
    fs::create_dir_all(image.join(server))?;
    let mut told = Vec::new();
    for path in [
        journal(data, server),
        journal(data, server).with_file_name("journal.next"),
    ] {
        let mut file = match File::open(&path) {
            Ok(file) => file,
            // It is there during compactions only.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !told.is_empty() => continue,
            Err(error) => return Err(error),
        };
        let mut read = || {
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(0))?;
            file.read_to_end(&mut bytes).map(|_| bytes)
        };
        // Whatever was acknowledged before is within this.
        let kept = records_bytes(&read()?);
        let mut bytes = read()?;
        let (written, length) = (records_bytes(&bytes), bytes.len());
        bytes.truncate(kept + random.below(written.saturating_sub(kept) + 1));
        let zeros = match random.below(3) {
            0 => length - bytes.len(),
            1 => random.below(10_000),
            _ => 0,
        };
        bytes.resize(bytes.len() + zeros, 0);
        let copy = image
            .join(server)
            .join(path.file_name().unwrap_or_default());
        File::create(copy)?.write_all(&bytes)?;
        told.push(format!("{kept} of {written} bytes, {zeros} zeros"));
    }
    Ok(told.join("; "))
}
