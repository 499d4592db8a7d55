//! A cycle through all servers, where one can be found.
//!
//! Whether there is one is a question that nobody answers quickly for every graph. So it is looked
//! for by extending a path at its ends and, where an end is stuck, turning a part of the path
//! around so that it has another end (Pósa's rotations). For the herds there are this finds a cycle
//! at once where there is one; where it gives up, the longest path found will do. It is a function
//! of the graph alone, choices included, so that all servers come to the same.

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Each is linked to the next one.
    pub(crate) servers: Vec<usize>,
    /// These are all, and the last is linked to the first.
    pub(crate) is_cycle: bool,
}

/// How many rotations are tried for each server.
const ROTATIONS: usize = 50;

/// Looks for a cycle through all servers of a connected graph; the longest path seen where there is
/// none. `links` has, by server, whom it is linked to.
///
/// The first server is the one with the lowest number, or where a path begins.
pub(crate) fn search(links: &[Vec<usize>]) -> Found {
    let mut path = Path::from(0, links.len());
    let mut longest = path.servers.clone();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut rotations_left = ROTATIONS * links.len() + 100;
    let mut is_other_end_tried = false;
    while rotations_left > 0 {
        if let Some(next) = path.extension(links) {
            path.push(next);
            is_other_end_tried = false;
            continue;
        }
        if path.servers.len() > longest.len() {
            longest.clone_from(&path.servers);
        }
        if path.servers.len() == links.len() && links.len() > 2 && path.is_closed(links) {
            return Found {
                servers: from_lowest(path.servers),
                is_cycle: true,
            };
        }
        rotations_left -= 1;
        if std::mem::replace(&mut is_other_end_tried, true) {
            path.rotate(links, &mut dice);
            is_other_end_tried = false;
        } else {
            path.turn_around();
        }
    }
    Found {
        servers: longest,
        is_cycle: false,
    }
}

/// A tree of a path's links, both ways, and of links to the servers that are not on it, each over
/// as few others as can be.
pub(crate) fn branches(links: &[Vec<usize>], path: &[usize]) -> Vec<Vec<usize>> {
    let mut tree = vec![Vec::new(); links.len()];
    let mut is_in = vec![false; links.len()];
    let mut join = |a: usize, b: usize| {
        tree[a].push(b);
        tree[b].push(a);
    };
    path.iter().for_each(|server| is_in[*server] = true);
    path.windows(2).for_each(|pair| join(pair[0], pair[1]));
    let mut reached = path.to_vec();
    let mut at = 0;
    while let Some(server) = reached.get(at).copied() {
        at += 1;
        for to in &links[server] {
            if !std::mem::replace(&mut is_in[*to], true) {
                join(server, *to);
                reached.push(*to);
            }
        }
    }
    tree
}

struct Path {
    servers: Vec<usize>,
    /// By server: where on the path it is.
    places: Vec<Option<usize>>,
}

impl Path {
    fn from(first: usize, count: usize) -> Self {
        let mut path = Self {
            servers: Vec::with_capacity(count),
            places: vec![None; count],
        };
        path.push(first);
        path
    }

    fn push(&mut self, server: usize) {
        self.places[server] = Some(self.servers.len());
        self.servers.push(server);
    }

    fn end(&self) -> usize {
        self.servers[self.servers.len() - 1]
    }

    /// Where the path can go on: to the server with the fewest ways further, which would be the
    /// first to be cut off.
    fn extension(&self, links: &[Vec<usize>]) -> Option<usize> {
        let is_free = |server: &&usize| self.places[**server].is_none();
        let ways = |server: &&usize| links[**server].iter().filter(is_free).count();
        let free = links[self.end()].iter().filter(is_free);
        free.min_by_key(ways).copied()
    }

    fn is_closed(&self, links: &[Vec<usize>]) -> bool {
        links[self.end()].contains(&self.servers[0])
    }

    fn turn_around(&mut self) {
        self.reverse_from(0);
    }

    /// The end is linked to a server on the path: what is behind that one is turned around, and the
    /// path has another end.
    fn rotate(&mut self, links: &[Vec<usize>], dice: &mut Dice) {
        let linked = &links[self.end()];
        if linked.is_empty() {
            return;
        }
        let pivot = linked[dice.below(linked.len())];
        if let Some(place) = self.places[pivot] {
            self.reverse_from(place + 1);
        }
    }

    fn reverse_from(&mut self, start: usize) {
        self.servers[start..].reverse();
        for (place, server) in self.servers.iter().enumerate().skip(start) {
            self.places[*server] = Some(place);
        }
    }
}

/// A cycle begins with its lowest server, and goes on to the lower one of that one's two.
fn from_lowest(mut servers: Vec<usize>) -> Vec<usize> {
    let lowest = (0..servers.len())
        .min_by_key(|place| servers[*place])
        .unwrap_or(0);
    servers.rotate_left(lowest);
    if servers[1] > servers[servers.len() - 1] {
        servers[1..].reverse();
    }
    servers
}

/// The same numbers on every server.
struct Dice(u64);

impl Dice {
    const fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % count as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(count: usize, edges: &[(usize, usize)]) -> Vec<Vec<usize>> {
        let mut links = vec![Vec::new(); count];
        for (a, b) in edges {
            links[*a].push(*b);
            links[*b].push(*a);
        }
        links.iter_mut().for_each(|links| links.sort_unstable());
        links
    }

    /// Hill, Jaquez, Smith, Campbell, Singleton.
    const FIVE: [(usize, usize); 6] = [(0, 1), (0, 2), (1, 4), (2, 3), (2, 4), (3, 4)];

    #[test]
    fn the_five_servers_have_their_one_cycle() {
        let found = search(&graph(5, &FIVE));
        assert_eq!(
            (found.servers, found.is_cycle),
            (vec![0, 1, 4, 3, 2], true),
            "Hill, Jaquez, Singleton, Campbell, Smith"
        );
    }

    #[test]
    fn without_one_of_them_there_is_a_cycle_or_a_path_through_the_rest() {
        // By who is gone: without Campbell there is a cycle of four.
        for gone in 0..5 {
            let is_there = |(a, b): &&(usize, usize)| *a != gone && *b != gone;
            let renamed = |server: usize| server - usize::from(server > gone);
            let edges: Vec<_> = FIVE
                .iter()
                .filter(is_there)
                .map(|(a, b)| (renamed(*a), renamed(*b)))
                .collect();
            let links = graph(4, &edges);
            let found = search(&links);
            assert_eq!(found.is_cycle, gone == 3, "without {gone}: {found:?}");
            let is_linked = |pair: &[usize]| links[pair[0]].contains(&pair[1]);
            assert!(found.servers.windows(2).all(is_linked), "{found:?}");
            assert_eq!(found.servers.len(), 4, "without {gone}: {found:?}");
        }
    }

    #[test]
    fn cycles_are_found_in_large_random_graphs() {
        let mut dice = Dice(7);
        for count in [20, 100, 300] {
            // A cycle in hidden order, and as many links again.
            let mut order: Vec<usize> = (0..count).collect();
            (1..count).for_each(|i| order.swap(i, dice.below(i + 1)));
            let mut edges: Vec<_> = (0..count)
                .map(|i| (order[i], order[(i + 1) % count]))
                .collect();
            while edges.len() < count * 5 / 2 {
                let edge = (dice.below(count), dice.below(count));
                let is_new = !edges.contains(&edge) && !edges.contains(&(edge.1, edge.0));
                if edge.0 != edge.1 && is_new {
                    edges.push(edge);
                }
            }
            let links = graph(count, &edges);
            let found = search(&links);
            assert!(found.is_cycle, "{count} servers");
            let mut sorted = found.servers.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..count).collect::<Vec<_>>());
            let last = found.servers[count - 1];
            assert!(links[last].contains(&found.servers[0]));
            let is_linked = |pair: &[usize]| links[pair[0]].contains(&pair[1]);
            assert!(found.servers.windows(2).all(is_linked));
        }
    }

    #[test]
    fn what_is_not_on_the_path_hangs_on_it() {
        // A star of four rays: a path takes two of them.
        let links = graph(5, &[(0, 1), (0, 2), (0, 3), (0, 4)]);
        let found = search(&links);
        assert_eq!((found.servers.len(), found.is_cycle), (3, false));
        let tree = branches(&links, &found.servers);
        assert_eq!(tree.iter().map(Vec::len).sum::<usize>(), 8, "four links");
        assert!(tree.iter().all(|links| !links.is_empty()));
    }

    #[test]
    fn one_and_two_servers_are_a_path() {
        assert_eq!(search(&graph(1, &[])).servers, [0]);
        let two = search(&graph(2, &[(0, 1)]));
        assert_eq!((two.servers.len(), two.is_cycle), (2, false));
    }
}
