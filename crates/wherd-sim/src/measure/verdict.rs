//! Whether anything was lost: what the replicas themselves hold at the end.

use super::delivery::NONE;
use super::load::{WALL_START_NS, write_time};
use super::run::Run;

/// What is missing at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Clients whose newest update some server lacks though it reaches one that holds it.
    pub(super) lost_count: usize,
    /// Updates that some server lacks which is cut off from all who hold them.
    pub(super) unreached_count: usize,
    /// Updates that were on a server alone that was killed and did not return.
    pub(super) stranded_count: usize,
}

impl Run<'_> {
    /// Asks every server that runs for every client.
    pub(super) fn verdict(&self) -> Verdict {
        let parts = self.parts();
        let is_running = |server: &usize| self.servers[*server].replica.is_some();
        let running: Vec<usize> = (0..self.servers.len()).filter(is_running).collect();
        let mut verdict = Verdict::default();
        for client in 0..self.setup.load.client_count {
            let mut is_lost = false;
            let newest = self.newest_held(&running, &parts, client);
            for server in &running {
                let expected = newest[parts[*server]];
                is_lost |= expected != NONE && !self.is_located(*server, client, expected);
            }
            verdict.lost_count += usize::from(is_lost);
        }
        for (id, update) in self.delivery.updates.iter().enumerate() {
            let holds = |server: &usize| {
                let held = self.delivery.held(*server)[update.client as usize].update;
                held != NONE && held as usize >= id
            };
            if update.open > 0 && running.iter().any(holds) {
                verdict.unreached_count += 1;
            } else if update.open > 0 {
                verdict.stranded_count += 1;
            }
        }
        verdict
    }

    /// What is the newest of a client in each part of the herd.
    fn newest_held(&self, running: &[usize], parts: &[usize], client: usize) -> Vec<u32> {
        let mut newest = vec![NONE; self.servers.len()];
        for server in running {
            let held = self.delivery.held(*server)[client].update;
            let newest = &mut newest[parts[*server]];
            if held != NONE && (*newest == NONE || held > *newest) {
                *newest = held;
            }
        }
        newest
    }

    /// Whether a replica answers with this update of a client.
    fn is_located(&self, server: usize, client: usize, update: u32) -> bool {
        let wall_ns = (WALL_START_NS + self.now_ns) as i64;
        let replica = self.servers[server].replica.as_ref();
        let located = replica.and_then(|r| r.locate(self.clients.id(client), wall_ns));
        let mut time = Vec::new();
        write_time(
            &mut time,
            self.delivery.updates[update as usize].reported_at_ns,
        );
        located.is_some_and(|located| located.at.as_bytes().ends_with(&time))
    }
}
