//! Which servers an update was sent to already, for the policy that asks.

use crate::entries::ClientIndex;
use std::collections::BTreeMap;
use wherd_proto::ServerName;
use wherd_proto::frame::Reached;

/// How many servers are told apart: more than any herd has.
const MOST_SERVERS: usize = 4096;

/// By client: the servers that its newest update was sent to, as far as is known here.
#[derive(Debug, Default)]
pub(crate) struct ReachedSets {
    servers: Vec<ServerName>,
    numbers: BTreeMap<ServerName, usize>,
    by_client: Vec<Vec<u8>>,
}

impl ReachedSets {
    /// A newer update of a client: nothing is known of it yet.
    pub(crate) fn begin(&mut self, client: ClientIndex) {
        self.set_of(client).clear();
    }

    pub(crate) fn add(&mut self, client: ClientIndex, server: &ServerName) {
        let Some(number) = self.number_of(server) else {
            return;
        };
        let set = self.set_of(client);
        if set.len() <= number / 8 {
            set.resize(number / 8 + 1, 0);
        }
        set[number / 8] |= 1 << (number % 8);
    }

    pub(crate) fn has(&self, client: ClientIndex, server: &ServerName) -> bool {
        let set = self.by_client.get(client.0 as usize);
        let number = self.numbers.get(server);
        set.zip(number)
            .is_some_and(|(set, number)| has_bit(set, *number))
    }

    /// Adds what a neighbour said of the entry at this place in its frame.
    pub(crate) fn learn(&mut self, client: ClientIndex, reached: &Reached, entry: usize) {
        let Some(set) = reached.sets.get(entry) else {
            return;
        };
        for (number, server) in reached.servers.iter().enumerate() {
            if has_bit(set, number) {
                self.add(client, server);
            }
        }
    }

    /// What a neighbour is told of the clients at these places, which go into one frame.
    pub(crate) fn tell(&self, number: u64, places: &[u32]) -> Reached {
        let set = |place: &u32| self.by_client.get(*place as usize).cloned();
        Reached {
            number,
            servers: self.servers.clone(),
            sets: places
                .iter()
                .map(|place| set(place).unwrap_or_default())
                .collect(),
        }
    }

    fn number_of(&mut self, server: &ServerName) -> Option<usize> {
        let next = self.servers.len();
        if let Some(number) = self.numbers.get(server) {
            return Some(*number);
        }
        if next == MOST_SERVERS {
            return None;
        }
        self.servers.push(server.clone());
        self.numbers.insert(server.clone(), next);
        Some(next)
    }

    fn set_of(&mut self, client: ClientIndex) -> &mut Vec<u8> {
        let place = client.0 as usize;
        if self.by_client.len() <= place {
            self.by_client.resize_with(place + 1, Vec::new);
        }
        &mut self.by_client[place]
    }
}

fn has_bit(set: &[u8], number: usize) -> bool {
    set.get(number / 8)
        .is_some_and(|byte| byte >> (number % 8) & 1 == 1)
}
