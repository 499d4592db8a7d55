//! What a server tells of itself: status, digest and metrics, read off the state.

use super::{Node, State};
use crate::status::{CountersStatus, DigestAnswer, NeighbourStatus, Status};
use crate::telemetry::Reading;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use wherd_core::{LinkIndex, Replica};
use wherd_proto::frame::{Lane, WireVector};

impl Node {
    /// What of this server's status is in its replica and its links.
    pub(crate) fn read_status(&self, status: &mut Status) {
        let state = self.lock();
        let counts = state.replica.counts();
        status.clients_count = state.replica.clients_count() as u64;
        status.accepted_count = counts.accepted;
        status.received_count = counts.received;
        status.superseded_count = counts.older + counts.superseded + counts.suppressed;
        status.digest = format!("{:016x}", digest_of_all(&state.replica));
        status.policy = state.replica.policy().name().to_owned();
        status.spread = spread(&state.replica);
        let counted = state.replica.counter_counts();
        status.counters = CountersStatus {
            articles_count: state.replica.articles_count() as u64,
            counters_count: state.replica.counters_count() as u64,
            counted_count: counted.counted,
            saturated_count: counted.saturated,
            sent_count: counted.sent,
            received_count: counted.received,
            superseded_count: counted.superseded + counted.suppressed,
            reflected: by_origin(state.replica.reflected_of(Lane::Counters)),
        };
        status.reflected = by_origin(state.replica.reflected());
        let wanted = self.neighbours.wanted();
        status.neighbours = wanted
            .map(|link| self.neighbour_status(&state, link.0))
            .collect();
    }

    /// The whole digest, and what it is of.
    pub(crate) fn read_digest(&self) -> DigestAnswer {
        let state = self.lock();
        let replica = &state.replica;
        let [positions, counters] = Lane::ALL.map(|lane| replica.digest_of(lane));
        let total = positions.total().wrapping_add(counters.total());
        let both = positions.buckets().iter().zip(counters.buckets());
        let buckets: Vec<_> = both
            .map(|(of_positions, of_counters)| of_positions.wrapping_add(*of_counters))
            .collect();
        let clients_count = replica.clients_count();
        let [reflected, counters_reflected] = Lane::ALL.map(|lane| replica.reflected_of(lane));
        drop(state);
        DigestAnswer {
            herd: self.herd.clone(),
            server: self.origin.server.to_string(),
            incarnation: self.origin.incarnation,
            clients_count: clients_count as u64,
            reflected: by_origin(reflected),
            counters_reflected: by_origin(counters_reflected),
            digest: format!("{total:016x}"),
            buckets: buckets.iter().map(|sum| format!("{sum:016x}")).collect(),
        }
    }

    fn neighbour_status(&self, state: &State, index: usize) -> NeighbourStatus {
        let neighbour = &self.neighbours[index];
        let connection = state.connections[index].as_ref();
        let (counts, waiting_count) = state
            .replica
            .link_counts(LinkIndex(index))
            .unwrap_or_default();
        let round_trip_us = neighbour.round_trip_us.load(Ordering::Relaxed);
        NeighbourStatus {
            name: neighbour.name.to_string(),
            is_up: connection.is_some(),
            up_for_s: connection.map(|connection| connection.up_since.elapsed().as_secs()),
            round_trip_us: (connection.is_some() && round_trip_us > 0).then_some(round_trip_us),
            waiting_count: waiting_count as u64,
            sent_count: counts.sent,
            received_count: counts.received,
            last_error: state.last_errors[index].clone(),
        }
    }

    /// All metrics in Prometheus' text format.
    pub(crate) fn render_metrics(&self) -> String {
        let is_ready = self.not_ready().is_empty();
        let state = self.lock();
        let links = (0..self.neighbours.len()).map(LinkIndex);
        let reading = Reading {
            counts: state.replica.counts(),
            counted: state.replica.counter_counts(),
            articles_count: state.replica.articles_count(),
            counters_count: state.replica.counters_count(),
            clients_count: state.replica.clients_count(),
            forgotten_count: state.replica.forgotten_count(),
            links_up_count: state.connections.iter().flatten().count(),
            waiting_count: links
                .filter_map(|link| state.replica.link_counts(link))
                .map(|(_, waiting_count)| waiting_count as u64)
                .sum(),
            is_ready,
            uptime_s: self.uptime().as_secs_f64(),
            reach: state.replica.reach(),
            now_ns: self.now_ns(),
        };
        drop(state);
        self.metrics.set_watchdog(&self.watchdog);
        if let Some(journal) = &self.journal {
            self.metrics
                .set_journal(&journal.counts, journal.has_failed());
        }
        self.metrics.render(&reading)
    }
}

/// What the policy came to, for the status.
fn spread(replica: &Replica) -> String {
    let [positions, counters] = Lane::ALL.map(|lane| replica.shape_of(lane));
    if positions == counters {
        positions.to_string()
    } else {
        format!("{positions}; counters: {counters}")
    }
}

/// Sums, so that they add up: of equal lanes they are equal, and of others hardly ever.
fn digest_of_all(replica: &Replica) -> u64 {
    let totals = Lane::ALL.map(|lane| replica.digest_of(lane).total());
    totals.into_iter().fold(0, u64::wrapping_add)
}

fn by_origin(vector: WireVector) -> BTreeMap<String, u64> {
    let vector = vector.into_iter();
    vector.map(|(origin, s)| (origin.to_string(), s)).collect()
}
