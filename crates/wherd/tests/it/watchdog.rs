//! A server that does not run for a while, and then goes on.

use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::herd::Setup;

#[test]
fn a_server_that_was_stopped_and_goes_on_is_not_ended() {
    let limits = "[limits]\nwatchdog_unhealthy_ms = 500\nwatchdog_abort_ms = 1000";
    let herd = Setup::lonely().with(limits).start();
    let hill = herd.server("Hill");
    let mut client = hill.connect();
    for number in 0..3 {
        client.send(b"IAMAT kiwi +1-1 5\n");
        hill.signal(Signal::STOP);
        // Twice as long as it may be stuck.
        thread::sleep(Duration::from_secs(2));
        hill.signal(Signal::CONT);
        let reply = client.read_line();
        assert!(reply.starts_with(b"AT Hill "), "{number}: {reply:?}");
        assert_eq!(hill.get("/livez").0, 200);
    }
    // It goes on for longer than it would take to be ended for what was before.
    thread::sleep(Duration::from_millis(1500));
    client.round_trip("kiwi");
    assert!(hill.is_running());
    assert!(!hill.log().contains(" watchdog.abort"), "{}", hill.log());
    assert!(hill.metric("wherd_stalled_seconds") < 0.5);
}
