//! Which servers are linked just now, and which of these links an update takes.
//!
//! Every server says to whom it is linked, and how long a message takes there and back: its *link
//! state*. Link states are flooded, so all servers come to have the same, and each computes from
//! them by itself the same tree or the same cycle. While they disagree nothing is lost: a link that
//! is not eager is lazy, and what an update misses by the one it gets by the other.

use crate::ring;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use wherd_proto::ServerName;
use wherd_proto::frame::LinkState;

/// From how many servers trees are tried at the most: with hundreds that would take too long.
const MOST_ROOTS: usize = 64;

/// What every server said last of its links.
#[derive(Debug, Default)]
pub(crate) struct LinkStates {
    by_server: BTreeMap<ServerName, LinkState>,
}

impl LinkStates {
    /// Takes what a server says of its links, where it is newer than what it said before.
    pub(crate) fn learn(&mut self, state: &LinkState) -> bool {
        let held = self.by_server.get(&state.origin.server);
        let is_newer = held.is_none_or(|held| {
            (held.origin.incarnation, held.sequence) < (state.origin.incarnation, state.sequence)
        });
        if is_newer {
            self.by_server
                .insert(state.origin.server.clone(), state.clone());
        }
        is_newer
    }

    pub(crate) fn of(&self, server: &ServerName) -> Option<&LinkState> {
        self.by_server.get(server)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &LinkState> {
        self.by_server.values()
    }

    pub(crate) fn count(&self) -> usize {
        self.by_server.len()
    }
}

/// The servers that a server reaches, in the order of their names, and the links between them. A
/// link is one that both its servers name.
#[derive(Debug)]
pub(crate) struct Graph<'a> {
    pub(crate) names: Vec<&'a ServerName>,
    /// By server: to whom, and the weight.
    pub(crate) links: Vec<Vec<(usize, u64)>>,
}

impl<'a> Graph<'a> {
    /// What can be reached from `me`.
    pub(crate) fn around(states: &'a LinkStates, me: &'a ServerName) -> Self {
        let mut names = vec![me];
        let mut seen = BTreeSet::from([me]);
        let mut at = 0;
        while let Some(name) = names.get(at).copied() {
            at += 1;
            for (to, _) in linked(states, name) {
                if seen.insert(to) {
                    names.push(to);
                }
            }
        }
        names.sort_unstable();
        let index_of = |name: &ServerName| names.binary_search(&name).ok();
        let links = names.iter().map(|name| {
            let mut links: Vec<_> = linked(states, name)
                .filter_map(|(to, weight)| Some((index_of(to)?, weight)))
                .collect();
            links.sort_unstable();
            links.dedup_by_key(|(to, _)| *to);
            links
        });
        Self {
            links: links.collect(),
            names,
        }
    }

    pub(crate) fn index_of(&self, name: &ServerName) -> Option<usize> {
        self.names.binary_search(&name).ok()
    }

    /// A spanning tree in which the servers that are furthest apart are near each other: shortest
    /// ways from a server in the middle. By server: whom it is linked to in the tree.
    pub(crate) fn tree(&self) -> Vec<Vec<usize>> {
        let trees = self.roots().into_iter().map(|root| self.tree_from(root));
        let best = trees.min_by_key(|tree| self.spans(tree));
        best.unwrap_or_default()
    }

    fn tree_from(&self, root: usize) -> Vec<Vec<usize>> {
        let (parents, _) = self.shortest_ways(root);
        let mut tree = vec![Vec::new(); self.names.len()];
        for (server, parent) in parents.into_iter().enumerate() {
            if let Some(parent) = parent {
                tree[server].push(parent);
                tree[parent].push(server);
            }
        }
        tree
    }

    /// From where trees are tried: all servers, or where these are many those between two that are
    /// far apart.
    fn roots(&self) -> Vec<usize> {
        if self.names.len() <= MOST_ROOTS {
            return (0..self.names.len()).collect();
        }
        let (_, from_first) = self.shortest_ways(0);
        let (parents, from_end) = self.shortest_ways(furthest(&from_first));
        let mut roots = Vec::new();
        let mut at = Some(furthest(&from_end));
        while let Some(server) = at {
            roots.push(server);
            at = parents[server];
        }
        roots
    }

    /// How far apart the two furthest servers of a tree are, and how far each has its furthest, all
    /// together.
    fn spans(&self, tree: &[Vec<usize>]) -> (u64, u64) {
        let one_end = furthest(&self.distances(tree, 0));
        let from_one = self.distances(tree, one_end);
        let other_end = furthest(&from_one);
        let from_other = self.distances(tree, other_end);
        let each = from_one.iter().zip(&from_other).map(|(a, b)| a.max(b));
        (from_one[other_end], each.sum())
    }

    /// From one server to all: by whom the shortest way goes, and how long it is. Of equal ways the
    /// one with fewer links, and then by the servers' names.
    fn shortest_ways(&self, from: usize) -> (Vec<Option<usize>>, Vec<u64>) {
        let mut parents = vec![None; self.names.len()];
        let mut best = vec![(u64::MAX, u32::MAX, usize::MAX); self.names.len()];
        best[from] = (0, 0, 0);
        let mut heap = BinaryHeap::from([Reverse((0, 0, from))]);
        while let Some(Reverse((distance, hops, server))) = heap.pop() {
            if (distance, hops) > (best[server].0, best[server].1) {
                continue;
            }
            for (to, weight) in &self.links[server] {
                let way = (distance + weight, hops + 1, server);
                if way < best[*to] {
                    best[*to] = way;
                    parents[*to] = Some(server);
                    heap.push(Reverse((way.0, way.1, *to)));
                }
            }
        }
        let distances = best.into_iter().map(|(distance, ..)| distance);
        (parents, distances.collect())
    }

    /// A cycle or a path through as many servers as can be found, and what is left hung on it.
    pub(crate) fn ring(&self) -> Ring {
        let links: Vec<Vec<usize>> = self
            .links
            .iter()
            .map(|links| links.iter().map(|(to, _)| *to).collect())
            .collect();
        let found = ring::search(&links);
        if found.is_cycle {
            return Ring::Cycle(found.servers);
        }
        Ring::Path {
            length: found.servers.len(),
            tree: ring::branches(&links, &found.servers),
        }
    }

    /// How long the ways from one server to all others are in a tree, in weights.
    pub(crate) fn distances(&self, tree: &[Vec<usize>], from: usize) -> Vec<u64> {
        let mut distances = vec![u64::MAX; self.names.len()];
        distances[from] = 0;
        let mut waiting = vec![from];
        while let Some(server) = waiting.pop() {
            for to in &tree[server] {
                if distances[*to] == u64::MAX {
                    distances[*to] = distances[server] + self.weight(server, *to);
                    waiting.push(*to);
                }
            }
        }
        distances
    }

    pub(crate) fn weight(&self, from: usize, to: usize) -> u64 {
        let found = self.links[from].binary_search_by_key(&to, |(to, _)| *to);
        found.map_or(0, |at| self.links[from][at].1)
    }
}

/// See [`Graph::ring`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ring {
    /// All servers, each linked to the next one and the last to the first.
    Cycle(Vec<usize>),
    /// There is none, or none was found: a path, with what is not on it hung on it.
    Path {
        /// How many servers are on it.
        length: usize,
        /// By server: whom it is linked to.
        tree: Vec<Vec<usize>>,
    },
}

/// Whom a server is linked to, as both say, and the larger of what they say that it takes.
fn linked<'a>(
    states: &'a LinkStates,
    server: &ServerName,
) -> impl Iterator<Item = (&'a ServerName, u64)> {
    let state = states.of(server);
    let links = state.into_iter().flat_map(|state| &state.links);
    links.filter_map(move |(to, here_us)| {
        let there = states.of(to)?.links.iter();
        let mut back = there.filter(|(back, _)| state.is_some_and(|s| *back == s.origin.server));
        let (_, there_us) = back.next()?;
        Some((to, u64::from(*here_us.max(there_us))))
    })
}

fn furthest(distances: &[u64]) -> usize {
    let indexed = distances.iter().enumerate();
    let furthest = indexed.max_by_key(|(index, distance)| (**distance, Reverse(*index)));
    furthest.map_or(0, |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wherd_proto::Origin;

    fn name(name: &str) -> ServerName {
        ServerName::new(name).expect("a name")
    }

    fn state(server: &str, (run, sequence): (u64, u64), links: &[(&str, u32)]) -> LinkState {
        LinkState {
            origin: Origin {
                server: name(server),
                incarnation: run,
            },
            sequence,
            links: links.iter().map(|(to, us)| (name(to), *us)).collect(),
        }
    }

    /// `A-B:5`: a link, and what both say of it.
    fn states(edges: &str) -> LinkStates {
        let mut links: BTreeMap<&str, Vec<(&str, u32)>> = BTreeMap::new();
        for edge in edges.split(' ') {
            let (ends, us) = edge.split_once(':').expect("a weight");
            let (a, b) = ends.split_once('-').expect("two ends");
            let us = us.parse().expect("a number");
            links.entry(a).or_default().push((b, us));
            links.entry(b).or_default().push((a, us));
        }
        let mut states = LinkStates::default();
        for (server, links) in links {
            states.learn(&state(server, (1, 1), &links));
        }
        states
    }

    fn tree_of(states: &LinkStates, me: &str) -> Vec<String> {
        let me = name(me);
        let graph = Graph::around(states, &me);
        let mut edges = Vec::new();
        for (server, links) in graph.tree().iter().enumerate() {
            for to in links.iter().filter(|to| **to > server) {
                edges.push(format!("{}-{}", graph.names[server], graph.names[*to]));
            }
        }
        edges
    }

    #[test]
    fn all_servers_come_to_the_same_tree() {
        let states = states("A-B:1 B-C:1 C-D:1 D-E:1 A-E:1 B-E:1");
        let of_a = tree_of(&states, "A");
        assert_eq!(of_a.len(), 4);
        for server in ["B", "C", "D", "E"] {
            assert_eq!(tree_of(&states, server), of_a, "{server}");
        }
    }

    #[test]
    fn a_tree_goes_round_what_is_slow() {
        let states = states("A-B:10 B-C:10 A-C:100");
        assert_eq!(tree_of(&states, "A"), ["A-B", "B-C"]);
    }

    /// Every server of the five reaches all others over two links; their trees are not alike.
    #[test]
    fn of_trees_from_all_servers_the_one_with_the_shortest_ways_is_taken() {
        let states = states("H-J:1 H-S:1 J-T:1 S-T:1 S-C:1 C-T:1");
        let me = name("H");
        let graph = Graph::around(&states, &me);
        assert_eq!(graph.spans(&graph.tree()), (3, 13));
    }

    #[test]
    fn in_a_long_line_what_lies_between_its_ends_is_tried() {
        let edges: Vec<_> = (0..99)
            .map(|n| format!("S{n:02}-S{:02}:1", n + 1))
            .collect();
        let edges = edges.join(" ");
        let states = states(&edges);
        let me = name("S00");
        let graph = Graph::around(&states, &me);
        assert_eq!(graph.roots().len(), 100);
        assert_eq!(graph.spans(&graph.tree()).0, 99);
    }

    #[test]
    fn a_link_is_one_that_both_name_and_costs_what_the_slower_says() {
        let mut states = LinkStates::default();
        states.learn(&state("A", (1, 1), &[("B", 5), ("C", 5)]));
        states.learn(&state("B", (1, 1), &[("A", 9)]));
        states.learn(&state("C", (1, 1), &[]));
        let me = name("A");
        let graph = Graph::around(&states, &me);
        assert_eq!(graph.names, [&name("A"), &name("B")]);
        assert_eq!(graph.weight(0, 1), 9);
        // From the other side it looks the same.
        let other = name("B");
        assert_eq!(Graph::around(&states, &other).links, graph.links);
    }

    #[test]
    fn what_a_later_run_says_counts_whatever_an_earlier_one_said_since() {
        let mut states = LinkStates::default();
        assert!(states.learn(&state("A", (1, 7), &[("B", 5)])));
        assert!(!states.learn(&state("A", (1, 7), &[])), "the same again");
        assert!(!states.learn(&state("A", (1, 6), &[])), "an older one");
        assert!(states.learn(&state("A", (2, 1), &[])), "of a later run");
        assert!(!states.learn(&state("A", (1, 8), &[("B", 5)])));
        assert_eq!(states.count(), 1);
    }
}
