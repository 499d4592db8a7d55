//! Who talks to whom.

use crate::random::Random;
use std::collections::{BTreeSet, VecDeque};
use wherd_proto::ServerName;

/// The servers of a herd and the edges between them. Connected: every server reaches every other.
#[derive(Clone, Debug)]
pub struct Topology {
    names: Vec<ServerName>,
    edges: Vec<(usize, usize)>,
}

impl Topology {
    /// The five servers that a herd has where nothing is configured.
    #[must_use]
    pub fn five() -> Self {
        let names = ["Hill", "Jaquez", "Smith", "Campbell", "Singleton"];
        let edges = vec![(0, 1), (0, 2), (1, 4), (2, 3), (2, 4), (3, 4)];
        Self::new(names.map(Into::into).to_vec(), edges)
    }

    /// Each server talks to the next one.
    #[must_use]
    pub fn line(count: usize) -> Self {
        Self::new(
            numbered(count),
            (1..count).map(|server| (server - 1, server)).collect(),
        )
    }

    /// A line whose ends talk to each other.
    #[must_use]
    pub fn ring(count: usize) -> Self {
        let mut ring = Self::line(count);
        if count > 2 {
            ring.edges.push((count - 1, 0));
        }
        ring
    }

    /// All talk to the first.
    #[must_use]
    pub fn star(count: usize) -> Self {
        Self::new(
            numbered(count),
            (1..count).map(|server| (0, server)).collect(),
        )
    }

    /// All talk to all.
    #[must_use]
    pub fn mesh(count: usize) -> Self {
        let edges = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b)));
        Self::new(numbered(count), edges.collect())
    }

    /// A random tree and some edges more.
    #[must_use]
    pub fn random(count: usize, random: &mut Random) -> Self {
        let mut topology = Self::new(numbered(count), Vec::new());
        for server in 1..count {
            topology.edges.push((random.below(server), server));
        }
        for a in 0..count {
            for b in a + 1..count {
                if random.chance(250) && !topology.edges.contains(&(a, b)) {
                    topology.edges.push((a, b));
                }
            }
        }
        topology
    }

    /// A random ring and random edges more, until there are `count * degree / 2` edges, or all that
    /// there can be: connected, and no server has less than two neighbours.
    #[must_use]
    pub fn random_of_degree(count: usize, degree: usize, random: &mut Random) -> Self {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            order.swap(last, random.below(last + 1));
        }
        let ring = Self::ring(count).edges;
        let ring = ring.iter().map(|(a, b)| sorted(order[*a], order[*b]));
        let mut edges: BTreeSet<_> = ring.collect();
        let most = count * count.saturating_sub(1) / 2;
        while edges.len() < most.min(count * degree / 2) {
            let (a, b) = (random.below(count), random.below(count));
            if a != b {
                edges.insert(sorted(a, b));
            }
        }
        Self::new(numbered(count), edges.into_iter().collect())
    }

    /// Any servers and edges, each edge told once.
    ///
    /// # Panics
    /// When a name cannot name a server.
    #[must_use]
    pub fn new(names: Vec<String>, edges: Vec<(usize, usize)>) -> Self {
        let names = names
            .iter()
            .map(|name| ServerName::new(name).expect("a server's name"));
        Self {
            names: names.collect(),
            edges,
        }
    }

    /// A further server that has the name and the neighbours of this one: the last.
    #[must_use]
    pub fn with_twin(mut self, server: usize) -> Self {
        let twin = self.names.len();
        self.names.push(self.names[server].clone());
        let of_server = |(a, b): &(usize, usize)| match server {
            _ if *a == server => Some((twin, *b)),
            _ if *b == server => Some((*a, twin)),
            _ => None,
        };
        let edges: Vec<_> = self.edges.iter().filter_map(of_server).collect();
        self.edges.extend(edges);
        self
    }

    /// The server that has the same name, if there is one.
    #[must_use]
    pub fn twin_of(&self, server: usize) -> Option<usize> {
        let is_twin = |other: &usize| *other != server && self.names[*other] == self.names[server];
        (0..self.names.len()).find(is_twin)
    }

    /// The servers.
    #[must_use]
    pub fn names(&self) -> &[ServerName] {
        &self.names
    }

    /// Pairs of indexes into [`Topology::names`].
    #[must_use]
    pub fn edges(&self) -> &[(usize, usize)] {
        &self.edges
    }

    /// How often flooding sends an update at the most: on both directions of every edge, but not
    /// back over the edge on which each server but the origin heard it first.
    #[must_use]
    pub fn flood_sends(&self) -> u64 {
        (2 * self.edges.len() + 1 - self.names.len()) as u64
    }

    /// How many links are between `from` and each server.
    #[must_use]
    pub fn hops(&self, from: usize) -> Vec<usize> {
        let mut hops = vec![usize::MAX; self.names.len()];
        hops[from] = 0;
        let mut next = VecDeque::from([from]);
        while let Some(server) = next.pop_front() {
            for (a, b) in &self.edges {
                for (here, there) in [(*a, *b), (*b, *a)] {
                    if here == server && hops[there] == usize::MAX {
                        hops[there] = hops[server] + 1;
                        next.push_back(there);
                    }
                }
            }
        }
        hops
    }
}

fn sorted(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("S{index}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topology_is_connected() {
        let mut random = Random::new(7);
        let topologies = (2..9).flat_map(|count| {
            [
                Topology::line(count),
                Topology::ring(count),
                Topology::star(count),
                Topology::mesh(count),
                Topology::random(count, &mut random),
                Topology::random_of_degree(count, 3, &mut random),
            ]
        });
        for topology in topologies.chain([Topology::five()]) {
            let furthest = topology.hops(0).into_iter().max();
            assert!(
                furthest < Some(topology.names().len()),
                "{:?}",
                topology.edges()
            );
        }
    }

    #[test]
    fn a_random_topology_has_the_degree_that_was_asked_for() {
        for (count, degree, edges) in [(20, 5, 50), (100, 4, 200), (7, 2, 7), (4, 9, 6), (2, 3, 1)]
        {
            let topology = Topology::random_of_degree(count, degree, &mut Random::new(3));
            assert_eq!(topology.edges().len(), edges, "{count} {degree}");
        }
    }

    #[test]
    fn flooding_five_servers_sends_eight_times() {
        assert_eq!(Topology::five().flood_sends(), 8);
        assert_eq!(Topology::line(4).flood_sends(), 3);
    }
}
