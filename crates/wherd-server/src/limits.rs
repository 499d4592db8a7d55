//! How many files and sockets this process may have open, and who gets them.
//!
//! Clients may take what is left when neighbours, HTTP and the server's own files have their share:
//! however many clients there are, none of these finds the last descriptor gone.

use crate::config::Limits;
use crate::neighbour::MAX_STRANGERS;
use crate::telemetry::{Level, Log, Metrics};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the server has open for itself: standard streams, listeners, log, journal and places
/// files, the runtime's own, and what a name server takes to be asked.
const OWN_COUNT: u64 = 64;
/// A neighbour has one link, and for a moment the one that takes its place and a dial.
const FOR_A_NEIGHBOUR: u64 = 4;

/// The descriptors of this process, shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// How many this process may have; `u64::MAX`: any number.
    pub(crate) limit: u64,
    /// How many connections clients may have.
    pub(crate) clients_count: usize,
    /// How many connections the HTTP port may have.
    pub(crate) http_count: usize,
}

impl Descriptors {
    /// Raises this process's soft limit to the hard one, and shares out what there is then.
    pub(crate) fn raise(limits: &Limits, neighbours_count: usize) -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: maximum,
            maximum,
        };
        // Some systems have a hard limit that they do not grant; then the soft one is what counts.
        let granted = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => maximum,
            Err(_) => current,
        };
        Self::share(granted.unwrap_or(u64::MAX), limits, neighbours_count)
    }

    fn share(limit: u64, limits: &Limits, neighbours_count: usize) -> Self {
        let http_count = (limits.http_connections as u64).min(limit / 8).max(1);
        let links_count = neighbours_count as u64 * FOR_A_NEIGHBOUR + MAX_STRANGERS as u64;
        let room = limit.saturating_sub(OWN_COUNT + links_count + http_count);
        Self {
            limit,
            clients_count: (limits.connections as u64).min(room).max(1) as usize,
            http_count: http_count as usize,
        }
    }

    /// Says how many connections there may be; a warning where that is fewer than was configured.
    pub(crate) fn tell(&self, limits: &Limits, log: &Log, metrics: &Metrics) {
        metrics.descriptors_limit.set(self.limit as f64);
        metrics.connections_limit.set(self.clients_count as f64);
        metrics.clients_limit.set(limits.clients as f64);
        let mut fields = vec![
            ("descriptors", self.limit.into()),
            ("client_connections", (self.clients_count as u64).into()),
            ("http_connections", (self.http_count as u64).into()),
        ];
        let mut level = Level::Info;
        if self.clients_count < limits.connections {
            level = Level::Warning;
            fields.push(("configured", (limits.connections as u64).into()));
            fields.push(("why", "ulimit -n leaves room for no more".into()));
        }
        log.event(level, "server.limits", &fields);
    }
}

/// How many descriptors this process has open; 0 where the system does not tell.
pub(crate) fn open_descriptors_count() -> u64 {
    descriptors_in("/proc/self/fd")
}

fn descriptors_in(folder: &str) -> u64 {
    // Newer kernels tell the number as the folder's size.
    match std::fs::metadata(folder).map(|folder| folder.len()) {
        Ok(0) => std::fs::read_dir(folder).map_or(0, |entries| entries.count() as u64),
        Ok(count) => count,
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::{Command, Stdio};

    fn check(limit: u64, neighbours_count: usize, clients_count: usize, http_count: usize) {
        let shared = Descriptors::share(limit, &Limits::default(), neighbours_count);
        let expected = Descriptors {
            limit,
            clients_count,
            http_count,
        };
        assert_eq!(shared, expected);
        let own = OWN_COUNT as usize + MAX_STRANGERS + 4 * neighbours_count;
        let sum = (clients_count + http_count + own) as u64;
        assert!(sum <= limit || clients_count == 1, "{sum} of {limit}");
    }

    #[test]
    fn clients_get_what_the_others_leave() {
        check(u64::MAX, 3, 16_000, 256);
        check(1 << 20, 3, 16_000, 256);
        check(20_000, 3, 16_000, 256);
        check(10_000, 3, 10_000 - 64 - 32 - 12 - 256, 256);
        check(1024, 3, 1024 - 64 - 32 - 12 - 128, 128);
        check(256, 0, 256 - 64 - 32 - 32, 32);
        check(64, 5, 1, 8);
        check(0, 0, 1, 1);
    }

    #[test]
    fn fifteen_thousand_clients_fit_where_twenty_thousand_files_may_be_open() {
        let shared = Descriptors::share(20_000, &Limits::default(), 10);
        assert!(shared.clients_count >= 15_000, "{shared:?}");
    }

    /// How many descriptors a shell has open after it was told to open some.
    fn shell_count(opens: &str) -> u64 {
        let mut shell = Command::new("sh")
            .args(["-c", &format!("exec {opens}; echo open; read end")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut said = [0; 5];
        let output = shell.stdout.as_mut().expect("its output");
        output.read_exact(&mut said).expect("that they are open");
        let count = descriptors_in(&format!("/proc/{}/fd", shell.id()));
        // The end of its input ends it.
        drop(shell.stdin.take());
        shell.wait().expect("its end");
        count
    }

    /// Another process's, as other tests of this one open and close some meanwhile.
    #[test]
    fn what_is_open_is_counted() {
        let three = shell_count("5</dev/null 6</dev/null 7</dev/null");
        let one = shell_count("5</dev/null");
        assert_eq!(three, one + 2);
        assert!(one >= 4 && open_descriptors_count() >= 3, "{one}");
    }
}
