//! The classic profile: the prototype of the reports as it was.

use std::time::{Duration, Instant};

use crate::herd::{Setup, Stop, check_matches, now_text, wait_until};
use crate::herd_runs::NAMES;

#[test]
fn a_connection_that_is_idle_for_five_seconds_is_closed() {
    let herd = Setup::lonely().classic().start();
    let hill = herd.server("Hill");
    let (mut silent, mut talking) = (hill.connect(), hill.connect());
    silent.round_trip("a");
    let quiet_since = Instant::now();
    // A line in between keeps the other one.
    wait_until("half of the time", || {
        quiet_since.elapsed() > Duration::from_millis(2500)
    });
    talking.round_trip("b");
    silent.wait_for_close();
    let waited = quiet_since.elapsed();
    let bounds = Duration::from_millis(4900)..Duration::from_secs(7);
    assert!(bounds.contains(&waited), "{waited:?}");
    talking.round_trip("b");
    hill.wait_for_log(&["client.close", &silent.address(), "why=idle"]);
}

#[test]
fn an_unterminated_valid_line_is_taken_after_a_short_silence() {
    let herd = Setup::lonely().classic().start();
    let mut client = herd.server("Hill").connect();
    let start = Instant::now();
    client.send(b"IAMAT kiwi +34-118 5");
    check_matches(
        b"AT Hill <skew> kiwi +34-118 5\n",
        &client.read_line(),
        "IAMAT",
    );
    let waited = start.elapsed();
    let bounds = Duration::from_millis(195)..Duration::from_secs(2);
    assert!(bounds.contains(&waited), "{waited:?}");
    client.send(b"WHATSAT kiwi 10 5");
    let answer = [client.read_line(), client.read_places()].concat();
    check_matches(
        b"AT Hill <skew> kiwi +34-118 5\n<places>",
        &answer,
        "WHATSAT",
    );
}

#[test]
fn an_unterminated_line_that_is_no_whole_command_waits_for_its_end() {
    let herd = Setup::lonely().classic().start();
    let mut client = herd.server("Hill").connect();
    let start = Instant::now();
    client.send(b"IAMAT kiwi +34-118");
    wait_until("twice the silence", || {
        start.elapsed() > Duration::from_millis(450)
    });
    client.send(b" 5\n");
    check_matches(
        b"AT Hill <skew> kiwi +34-118 5\n",
        &client.read_line(),
        "IAMAT",
    );
}

#[test]
fn bytes_that_keep_coming_are_no_silence() {
    let herd = Setup::lonely().classic().start();
    let mut client = herd.server("Hill").connect();
    client.send(b"IAMAT kiwi +34-118 1");
    for _ in 0..6 {
        let sent_at = Instant::now();
        wait_until("a part of the silence", || {
            sent_at.elapsed() > Duration::from_millis(60)
        });
        client.send(b"1");
    }
    client.send(b"\n");
    check_matches(
        b"AT Hill <skew> kiwi +34-118 1111111\n",
        &client.read_line(),
        "IAMAT",
    );
}

#[test]
fn the_full_profile_waits_for_the_end_of_a_line() {
    let herd = Setup::lonely().start();
    let mut client = herd.server("Hill").connect();
    let start = Instant::now();
    client.send(b"IAMAT kiwi +34-118 5");
    wait_until("more than classic's silence", || {
        start.elapsed() > Duration::from_millis(500)
    });
    client.send(b"5\n");
    check_matches(
        b"AT Hill <skew> kiwi +34-118 55\n",
        &client.read_line(),
        "IAMAT",
    );
}

#[test]
fn a_server_that_was_away_learns_only_what_is_said_after_it_returned() {
    let mut herd = Setup::five().classic().start();
    let hill = herd.server("Hill");
    let old = hill.iamat("old", "+1-1", "1");
    for server in herd.servers() {
        server.wait_until_it_tells("old", &old);
    }
    herd.stop("Campbell", Stop::Asked);
    hill.iamat("missed", "+2-2", "2");
    herd.restart("Campbell");
    herd.wait_until_these_are_linked(&NAMES);
    let campbell = herd.server("Campbell");
    let after = hill.iamat("after", "+3-3", "3");
    campbell.wait_until_it_tells("after", &after);
    assert_eq!(campbell.whatsat("old"), None);
    assert_eq!(campbell.whatsat("missed"), None);
    let again = hill.iamat("old", "+4-4", &now_text());
    campbell.wait_until_it_tells("old", &again);
    assert!(campbell.status().classic);
}

#[test]
fn what_one_classic_server_is_told_all_tell_byte_for_byte() {
    let herd = Setup::five().classic().start();
    for server in herd.servers() {
        let id = format!("at-{}", server.name);
        let at = server.iamat(&id, "+34.068930-118.445127", "1621464827.959498503");
        for other in herd.servers() {
            other.wait_until_it_tells(&id, &at);
        }
    }
}

#[test]
fn the_log_has_every_line_whatever_the_budget() {
    let herd = Setup::lonely()
        .with("[log]\ntraffic_lines_per_second = 10")
        .classic()
        .start();
    let hill = herd.server("Hill");
    let lines_count = 5000;
    hill.talk("x\n".repeat(lines_count).as_bytes());
    wait_until("all lines", || {
        let log = hill.log();
        let count = |event: &str| log.lines().filter(|line| line.contains(event)).count();
        assert_eq!(count(" log.left_out "), 0);
        count(" client.in ") == lines_count && count(" client.out ") == lines_count
    });
}
