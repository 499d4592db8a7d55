//! What changes while a server runs.

use super::*;

#[test]
fn a_link_that_is_added_catches_up_and_spreads() {
    let (mut hill, mut smith) = (server("Hill"), server("Smith"));
    report(&mut hill, "kiwi 5 1000");
    let added = hill.add_link();
    assert_eq!(added, LinkIndex(2));
    up(&mut hill, added, &[]);
    up(&mut smith, ONE, &[]);
    let bytes = drain(&mut hill, added, 1 << 20);
    assert_eq!(show(&bytes), ["kiwi 5", "COMMIT Hill:1"]);
    deliver(&bytes, &mut smith, ONE).expect("no fault");
    assert_eq!(smith.digest().total(), hill.digest().total());
    report(&mut hill, "kiwi 6 1001");
    check_sent(&mut hill, added, &["kiwi 6", "COMMIT Hill:2"]);
    hill.link_down(added);
    report(&mut hill, "kiwi 7 1002");
    check_sent(&mut hill, added, &[]);
}

#[test]
fn what_an_added_neighbour_keeps_counts() {
    let mut hill = server("Hill");
    let added = hill.add_link();
    up(&mut hill, added, &[]);
    report(&mut hill, "kiwi 5 1000");
    assert_eq!(hill.kept_sequence(1), 0);
    let kept = Frame::Kept(1);
    hill.receive(added, &kept, 0, &mut Vec::new())
        .expect("no fault");
    assert_eq!(hill.kept_sequence(1), 1);
}

#[test]
fn a_smaller_limit_keeps_those_who_are_known() {
    let mut hill = server("Hill");
    report(&mut hill, "kiwi 5 1000");
    report(&mut hill, "emu 5 1000");
    let limit = |max_clients| Settings {
        max_clients,
        ..Settings::default()
    };
    hill.set_numbers(limit(1), 0);
    assert_eq!(report(&mut hill, "moa 5 1000"), Outcome::Full);
    assert_eq!(report(&mut hill, "emu 6 1001"), Outcome::Accepted);
    assert_eq!(hill.clients_count(), 2);
    hill.set_numbers(limit(3), 0);
    assert_eq!(report(&mut hill, "moa 5 1000"), Outcome::Accepted);
}

#[test]
fn what_kind_of_server_it_is_stays() {
    let mut hill = server_with(
        "Hill",
        Settings {
            has_catch_up: false,
            has_journal: true,
            ..Settings::default()
        },
    );
    hill.set_numbers(Settings::default(), 0);
    assert!(!hill.settings.has_catch_up && hill.settings.has_journal);
}

#[test]
fn other_intervals_hold_on_a_link_that_is_up() {
    let mut hill = server("Hill");
    up(&mut hill, ONE, &[]);
    let settings = Settings {
        have_interval_ns: 70 * MS,
        digest_interval_ns: 3000 * MS,
        ..Settings::default()
    };
    hill.set_numbers(settings, 500 * MS);
    assert_eq!(hill.next_tick_at_ns(), Some(3500 * MS), "digests were off");
    report(&mut hill, "kiwi 5 1000");
    assert_eq!(hill.next_tick_at_ns(), Some(70 * MS));
    hill.set_numbers(Settings::default(), 600 * MS);
    hill.tick(700 * MS, 0, &mut Vec::new());
    assert_eq!(hill.next_tick_at_ns(), None, "digests are off again");
}

#[test]
fn what_is_too_old_by_a_new_rule_goes() {
    let mut hill = server("Hill");
    report(&mut hill, "kiwi 5 1000");
    assert_eq!(hill.next_tick_at_ns(), None);
    let settings = Settings {
        retention_ns: 64_000 * MS,
        ..Settings::default()
    };
    hill.set_numbers(settings, 0);
    let due_at_ns = hill.next_tick_at_ns().expect("a sweep");
    assert_eq!(due_at_ns, 1000 * MS);
    hill.tick(due_at_ns, (NOW_S + 65) * 1_000_000_000, &mut Vec::new());
    assert_eq!(hill.clients_count(), 0);
}
