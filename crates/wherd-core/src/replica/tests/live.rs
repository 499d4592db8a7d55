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
    let kept = Frame::Kept(Lane::Positions, 1);
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

#[test]
fn a_sweep_that_was_far_away_comes_as_soon_as_a_new_rule_says() {
    let mut hill = server("Hill");
    report(&mut hill, "kiwi 5 1000");
    let keep_for = |seconds: u64| Settings {
        retention_ns: seconds * 1000 * MS,
        ..Settings::default()
    };
    hill.set_numbers(keep_for(3600), 0);
    assert_eq!(hill.next_tick_at_ns(), Some(56_250 * MS), "a 64th of it");
    hill.set_numbers(keep_for(64), 0);
    assert_eq!(hill.next_tick_at_ns(), Some(1000 * MS));
    hill.set_numbers(keep_for(0), 0);
    assert_eq!(hill.next_tick_at_ns(), None, "nothing is ever too old");
}

#[test]
fn time_is_asked_for_at_the_earliest_of_what_is_due() {
    let settings = Settings {
        retention_ns: 64_000 * MS,
        ..Settings::default()
    };
    let mut hill = server_with("Hill", settings);
    up(&mut hill, ONE, &[]);
    report(&mut hill, "kiwi 5 1000");
    assert_eq!(hill.next_tick_at_ns(), Some(5 * MS), "a HAVE");
    hill.link_down(ONE);
    assert_eq!(hill.next_tick_at_ns(), Some(1000 * MS), "a sweep");
}

#[test]
fn tracing_is_turned_on_and_off_for_links_that_are_up_too() {
    let mut hill = server("Hill");
    up(&mut hill, ONE, &[]);
    let suppressed = |hill: &mut Replica, sequence: u64| {
        report(hill, &format!("kiwi 5 {sequence}"));
        deliver(&have(&[("Hill", sequence)]), hill, ONE).unwrap();
        let mut effects = Vec::new();
        hill.drain(ONE, &mut Vec::new(), 1 << 20, &mut effects);
        effects.iter().filter_map(fate).collect::<Vec<_>>()
    };
    assert_eq!(suppressed(&mut hill, 1), []);
    hill.set_tracing(true);
    assert_eq!(suppressed(&mut hill, 2), [Fate::Suppressed(ONE)]);
    hill.set_tracing(false);
    assert_eq!(suppressed(&mut hill, 3), []);
    assert_eq!(hill.counts().suppressed, 3);
}

#[test]
fn the_same_interval_again_puts_no_digest_off() {
    let settings = Settings {
        digest_interval_ns: 60_000 * MS,
        ..Settings::default()
    };
    let mut hill = server_with("Hill", settings);
    up(&mut hill, ONE, &[]);
    hill.set_numbers(settings, 4000 * MS);
    assert_eq!(hill.next_tick_at_ns(), Some(5000 * MS));
}
