//! A server whose words nobody reads.

use std::io::{ErrorKind, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::herd::{Peer, SLACK, Setup, Stop, wait_until};

/// How often a link goes and comes again: each time two lines, in all more than may wait.
const FLAPS: usize = 150;

/// Writes until there is no room for a single byte, as where nobody reads.
fn fill(mut words: &UnixStream) {
    words.set_nonblocking(true).expect("a socket");
    for piece in [&[b'x'; 4096][..], b"x"] {
        let full = loop {
            if let Err(error) = words.write(piece) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
    }
    // Its other holder shall wait when it writes.
    words.set_nonblocking(false).expect("a socket");
}

#[test]
fn a_terminal_that_nobody_reads_delays_no_client_and_no_stop() {
    let servers: [(&str, &[&str]); 2] = [("Hill", &["Smith"]), ("Smith", &[])];
    let mut herd = Setup::of(&servers).only(&["Hill"]).bind();
    herd.stop("Hill", Stop::Asked);
    let (words, _reader) = UnixStream::pair().expect("two sockets");
    let stderr = OwnedFd::from(words.try_clone().expect("a socket"));
    herd.restart_with_stderr("Hill", stderr.into());
    fill(&words);
    let hill = herd.server("Hill");
    let mut client = hill.connect();
    let mut peer = Peer::linked(&hill, "Smith");
    for _ in 0..FLAPS {
        // It takes the place of the one before.
        peer = Peer::linked(&hill, "Smith");
        client.round_trip("kiwi");
    }
    drop(peer);
    wait_until("every end of a link in the log", || {
        hill.log().matches(" link.down ").count() > FLAPS
    });
    assert_eq!(hill.status().clients_count, 1);
    let start = Instant::now();
    hill.signal(Signal::TERM);
    wait_until("the end of Hill", || !hill.is_running());
    let taken = start.elapsed();
    assert!(taken < Duration::from_millis(300) * SLACK, "{taken:?}");
}

#[test]
fn a_terminal_that_nobody_reads_does_not_keep_a_herd_from_stopping() {
    let (words, _reader) = UnixStream::pair().expect("two sockets");
    let stderr = OwnedFd::from(words.try_clone().expect("a socket"));
    fill(&words);
    let servers: [(&str, &[&str]); 2] = [("Hill", &["Smith"]), ("Smith", &[])];
    let mut herd = Setup::of(&servers).bind_with_stderr(stderr.into());
    herd.wait_until_linked();
    herd.stop("Smith", Stop::Killed);
    let hill = herd.server("Hill");
    hill.wait_for_log(&["link.down", "neighbour=Smith"]);
    hill.connect().round_trip("kiwi");
    herd.signal_up(Signal::TERM);
    assert!(herd.up_ended().success());
    assert!(!hill.is_running());
}
