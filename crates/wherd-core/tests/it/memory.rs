//! What a client takes for as long as it is known.

use crate::allocator::usage;
use wherd_core::{Replica, Settings};
use wherd_proto::{AtTexts, Origin, Request, ServerName};

/// A replica that was told of so many clients with IDs of 20 bytes.
fn replica_of(client_count: usize) -> Replica {
    let me = Origin {
        server: ServerName::new("Hill").expect("a name"),
        incarnation: 1,
    };
    let mut replica = Replica::new(&me, 0, Settings::default(), (1, 2));
    let (mut outcomes, mut effects) = (Vec::new(), Vec::new());
    let mut texts = AtTexts::default();
    for client in 0..client_count {
        let line = format!("IAMAT client-{client:013} +34.068930-118.445127 1621464827.959498503");
        let Ok(Request::IAmAt(report)) = Request::parse(line.as_bytes()) else {
            panic!("no report: {line}")
        };
        outcomes.clear();
        let received_at_ns = 1_621_464_828_000_000_000;
        texts.write(&[report], received_at_ns);
        let reports = std::iter::once(&report).zip(texts.iter());
        replica.report(reports, received_at_ns, 0, &mut outcomes, &mut effects);
    }
    replica
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.expect("VmRSS in kB") * 1024
}

#[test]
#[ignore = "a million clients take a while unless optimized; the smaller test beside it always runs"]
fn memory_of_a_million_clients() {
    const CLIENTS: usize = 1_000_000;
    let (resident_before, before) = (resident_bytes(), usage());
    let replica = replica_of(CLIENTS);
    let resident = (resident_bytes() - resident_before) / CLIENTS as u64;
    let asked_for = (usage().live_bytes - before.live_bytes) / CLIENTS as i64;
    assert_eq!(replica.clients_count(), CLIENTS);
    eprintln!("{CLIENTS} clients: {resident} bytes resident and {asked_for} asked for, for each");
    assert!(resident <= 120, "{resident} bytes for each client");
}

/// Just below a power of two, where growing tables have the least to spare, as a million is.
#[test]
fn a_client_takes_little_more_than_its_text() {
    const CLIENTS: usize = 16_000;
    let before = usage();
    let replica = replica_of(CLIENTS);
    let asked_for = (usage().live_bytes - before.live_bytes) / CLIENTS as i64;
    assert!(
        (1..=130).contains(&asked_for),
        "{asked_for} bytes for {} clients",
        replica.clients_count()
    );
}
