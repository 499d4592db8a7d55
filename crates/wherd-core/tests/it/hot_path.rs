//! A line of a known client allocates nothing.

use crate::allocator::usage;
use wherd_core::{Effect, LinkIndex, Outcome, Replica, Settings};
use wherd_proto::frame::WireVector;
use wherd_proto::{AtTexts, Origin, Request, ServerName, reply};

const CLIENTS: usize = 100;
const BATCH: usize = 64;
const LINK: LinkIndex = LinkIndex(0);

/// What a connection keeps from one batch to the next.
#[derive(Default)]
struct Buffers {
    texts: AtTexts,
    outcomes: Vec<Outcome>,
    effects: Vec<Effect>,
    replies: Vec<u8>,
    frames: Vec<u8>,
}

impl Buffers {
    fn clear(&mut self) {
        self.outcomes.clear();
        self.effects.clear();
        self.replies.clear();
        self.frames.clear();
    }
}

fn lines(second: usize) -> Vec<String> {
    let line = |client| format!("IAMAT c{client} +34.068930-118.445127 16214648{second:02}.5");
    (0..CLIENTS).map(line).collect()
}

/// Parses, reports and answers a batch, as a connection does; its list of reports is one
/// allocation for a batch.
fn serve(replica: &mut Replica, name: &ServerName, lines: &[String], buffers: &mut Buffers) {
    const RECEIVED_AT_NS: i64 = 1_621_464_900_000_000_000;
    buffers.clear();
    let mut reports = Vec::with_capacity(BATCH);
    for line in lines {
        let Ok(Request::IAmAt(report)) = Request::parse(line.as_bytes()) else {
            panic!("no report: {line}")
        };
        reports.push(report);
    }
    buffers.texts.write(&reports, RECEIVED_AT_NS);
    let batch = reports.iter().zip(buffers.texts.iter());
    let (outcomes, effects) = (&mut buffers.outcomes, &mut buffers.effects);
    replica.report(batch, RECEIVED_AT_NS, 0, outcomes, effects);
    for at in buffers.texts.iter() {
        reply::write_at(&mut buffers.replies, name, at);
    }
}

/// How often memory is asked for, for one batch of known clients, once buffers have grown.
fn allocations_of_a_batch(link_count: usize) -> u64 {
    let name = ServerName::new("Hill").expect("a name");
    let me = Origin {
        server: name.clone(),
        incarnation: 1,
    };
    let mut replica = Replica::new(&me, link_count, Settings::default(), (1, 2));
    let mut buffers = Buffers::default();
    let mut allocations = 0;
    for second in 10..20 {
        let lines = lines(second);
        for batch in lines.chunks(BATCH) {
            let before = usage().allocation_count;
            serve(&mut replica, &name, batch, &mut buffers);
            while link_count > 0 && replica.drain(LINK, &mut buffers.frames, 1 << 20, &mut vec![]) {
            }
            allocations = usage().allocation_count - before;
            assert!(
                buffers
                    .outcomes
                    .iter()
                    .all(|outcome| *outcome == Outcome::Accepted)
            );
        }
        if second == 12 && link_count > 0 {
            replica
                .link_up(LINK, &WireVector::new(), 0, &mut vec![])
                .expect("a link");
        }
    }
    allocations
}

#[test]
fn a_batch_of_known_clients_allocates_only_its_list() {
    assert_eq!(allocations_of_a_batch(0), 1);
}

/// A drain's frames and vectors take some, whatever the number of lines.
#[test]
fn a_link_adds_a_few_allocations_for_each_batch() {
    let allocations = allocations_of_a_batch(1);
    assert!(allocations < BATCH as u64 / 2, "{allocations}");
}
