//! Which links an update takes, by policy.

use super::*;
use crate::Shape;

/// Some servers and the links between them, which take no time, played in steps of a millisecond.
struct Herd {
    servers: Vec<Replica>,
    edges: Vec<Edge>,
    now_ns: u64,
}

struct Edge {
    ends: [(usize, LinkIndex); 2],
    /// It carries nothing, and nobody has noticed.
    is_dead: bool,
}

const FIVE: [(usize, usize); 6] = [(0, 1), (0, 2), (1, 4), (2, 3), (2, 4), (3, 4)];
const NAMES: [&str; 5] = ["Hill", "Jaquez", "Smith", "Campbell", "Singleton"];

impl Herd {
    fn five(policy: Policy) -> Self {
        Self::of(5, &FIVE, |_| policy)
    }

    fn of(count: usize, edges: &[(usize, usize)], policy: impl Fn(usize) -> Policy) -> Self {
        let servers = (0..count).map(|server| {
            let settings = Settings {
                policy: policy(server),
                ..Settings::default()
            };
            Replica::new(&origin(NAMES[server]), 0, settings, (1, 2))
        });
        let mut herd = Self {
            servers: servers.collect(),
            edges: Vec::new(),
            now_ns: MS,
        };
        for (a, b) in edges {
            let ends = [*a, *b].map(|server| (server, herd.servers[server].add_link()));
            let is_dead = false;
            herd.edges.push(Edge { ends, is_dead });
        }
        for edge in 0..herd.edges.len() {
            herd.connect(edge);
        }
        herd.run(50);
        herd
    }

    fn connect(&mut self, edge: usize) {
        let [a, b] = self.edges[edge].ends;
        for ((here, link), (there, _)) in [(a, b), (b, a)] {
            let peer = self.servers[there].me().clone();
            let theirs = self.servers[there].reflected();
            let (here, effects) = (&mut self.servers[here], &mut Vec::new());
            here.link_up(link, &theirs, self.now_ns, effects)
                .expect("a link");
            here.link_measured(link, &peer, MS, self.now_ns, effects);
        }
    }

    fn cut(&mut self, edge: usize) {
        for (server, link) in self.edges[edge].ends {
            self.servers[server].link_down(link);
        }
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now_ns += MS;
            for server in &mut self.servers {
                if server.next_tick_at_ns() <= Some(self.now_ns) {
                    server.tick(self.now_ns, NOW_S * 1_000_000_000, &mut Vec::new());
                }
            }
            self.pass_on();
        }
    }

    /// Until nobody has anything more to say at this moment.
    fn pass_on(&mut self) {
        loop {
            let mut is_silent = true;
            for edge in &self.edges {
                let [a, b] = edge.ends;
                for ((from, out), (to, into)) in [(a, b), (b, a)] {
                    let bytes = drain(&mut self.servers[from], out, 1 << 20);
                    is_silent &= bytes.is_empty();
                    if !edge.is_dead {
                        let to = &mut self.servers[to];
                        deliver_at(self.now_ns, &bytes, to, into).expect("no fault");
                    }
                }
            }
            if is_silent {
                return;
            }
        }
    }

    /// How many times an update of this server is sent until all is silent.
    fn sends(&mut self, server: usize, line: &str) -> u64 {
        let sent = |herd: &Self| herd.servers.iter().map(|s| s.counts().sent).sum::<u64>();
        let before = sent(self);
        assert_eq!(self.report(server, line), Outcome::Accepted);
        self.run(1000);
        self.check_all_have(line);
        sent(self) - before
    }

    fn report(&mut self, server: usize, line: &str) -> Outcome {
        let now_ns = self.now_ns;
        report_at(now_ns, &mut self.servers[server], line)
    }

    fn has(&self, server: usize, line: &str) -> bool {
        let (client, rest) = line.split_once(' ').expect("a client");
        let shown = rest.split(' ').next().expect("a latitude");
        let expected = format!("{client} {shown}");
        position_of(&self.servers[server], client) == Some(expected)
    }

    fn check_all_have(&self, line: &str) {
        for (server, name) in NAMES.iter().enumerate().take(self.servers.len()) {
            assert!(self.has(server, line), "{name} lacks {line}");
        }
    }
}

#[test]
fn a_tree_and_a_cycle_send_an_update_once_to_each_server() {
    for policy in [Policy::Tree, Policy::Ring] {
        let mut herd = Herd::five(policy);
        for server in 0..5 {
            let line = format!("kiwi {server} {}", 10 + server);
            assert_eq!(herd.sends(server, &line), 4, "{policy:?} from {server}");
        }
    }
}

#[test]
fn flooding_sends_more_and_less_where_it_tells_who_was_reached() {
    let count = |policy| {
        let mut herd = Herd::five(policy);
        (0..5)
            .map(|server| herd.sends(server, &format!("kiwi {server} {}", 10 + server)))
            .sum::<u64>()
    };
    let (flood, reached) = (count(Policy::Flood), count(Policy::Reached));
    assert!(flood <= 40 && reached >= 20, "{flood} and {reached}");
    assert!(reached < flood, "{reached} and {flood}");
}

#[test]
fn a_status_tells_what_a_policy_came_to() {
    let shape = |policy| Herd::five(policy).servers[3].shape().to_string();
    assert_eq!(shape(Policy::Flood), "all links");
    assert_eq!(shape(Policy::Reached), "all links");
    assert_eq!(shape(Policy::Tree), "a tree of 5");
    assert_eq!(shape(Policy::Ring), "a cycle of 5");
    assert_eq!(shape(Policy::Hybrid), "all links");
}

/// Without Hill or any other of the four in the middle there is no cycle.
#[test]
fn a_ring_without_a_cycle_goes_along_a_path() {
    let mut herd = Herd::five(Policy::Ring);
    herd.cut(0);
    herd.cut(1);
    herd.run(50);
    let length = 4;
    let expected = Shape::Path {
        length,
        server_count: length,
    };
    assert_eq!(herd.servers[4].shape(), expected);
    assert_eq!(expected.to_string(), "no cycle: a path of 4");
    let before: u64 = herd.servers.iter().map(|s| s.counts().sent).sum();
    assert_eq!(herd.report(3, "kiwi 5 10"), Outcome::Accepted);
    herd.run(1000);
    assert!((1..5).all(|server| herd.has(server, "kiwi 5 10")));
    assert!(!herd.has(0, "kiwi 5 10"), "Hill is gone");
    let after: u64 = herd.servers.iter().map(|s| s.counts().sent).sum();
    assert_eq!(after - before, 3);
    herd.connect(0);
    herd.run(50);
    herd.check_all_have("kiwi 5 10");
}

/// A link that is dead and does not say so holds nobody up for longer than its policy waits.
#[test]
fn what_the_eager_links_lose_the_lazy_ones_bring() {
    for (policy, within_ms) in [(Policy::Tree, 100), (Policy::Ring, 500)] {
        for dead in 0..FIVE.len() {
            let mut herd = Herd::five(policy);
            herd.edges[dead].is_dead = true;
            for server in 0..5 {
                let line = format!("kiwi {server} {}", 10 + server);
                assert_eq!(herd.report(server, &line), Outcome::Accepted);
                herd.run(within_ms);
                herd.check_all_have(&line);
            }
        }
    }
}

#[test]
fn servers_with_different_policies_lose_nothing() {
    let policies = Policy::ALL;
    for turn in 0..5 {
        let mut herd = Herd::of(5, &FIVE, |server| policies[(server + turn) % 5]);
        for server in 0..5 {
            let line = format!("kiwi {server} {}", 10 + server);
            assert_eq!(herd.report(server, &line), Outcome::Accepted);
            herd.run(1000);
            herd.check_all_have(&line);
        }
        // All at once, and one after the other, under load.
        for (server, policy) in policies.into_iter().enumerate() {
            let now_ns = herd.now_ns;
            herd.servers[server].set_policy(policy, now_ns);
            let line = format!("plum {server} {}", 20 + server);
            assert_eq!(herd.report(4 - server, &line), Outcome::Accepted);
            herd.run(1);
        }
        herd.run(1000);
        herd.check_all_have("plum 4 24");
    }
}

/// Who knows nothing of link states is in no tree, and is sent everything at once.
#[test]
fn a_neighbour_that_says_nothing_of_its_links_is_flooded() {
    let mut hill = server("Hill");
    up(&mut hill, ONE, &[]);
    let peer = origin("Jaquez");
    hill.link_measured(ONE, &peer, MS, MS, &mut Vec::new());
    hill.tick(10 * MS, 0, &mut Vec::new());
    drain(&mut hill, ONE, 1 << 20);
    report(&mut hill, "kiwi 5 10");
    check_sent(&mut hill, ONE, &["kiwi 5", "COMMIT Hill:1"]);
}

/// A link that wavers a little stays what it was; one that became slow leaves the tree.
#[test]
fn a_tree_changes_where_a_link_became_much_slower_and_not_before() {
    let triangle = [(0, 1), (0, 2), (1, 2)];
    let mut herd = Herd::of(3, &triangle, |_| Policy::Tree);
    let eager = |herd: &Herd, edge: usize| {
        let (server, link) = herd.edges[edge].ends[0];
        herd.servers[server].is_eager(link)
    };
    let before: Vec<_> = (0..3).map(|edge| eager(&herd, edge)).collect();
    assert_eq!(before.iter().filter(|is_eager| **is_eager).count(), 2);
    let measure = |herd: &mut Herd, edge: usize, round_trip_ns: u64| {
        for (server, link) in herd.edges[edge].ends {
            for _ in 0..50 {
                let (now_ns, effects) = (herd.now_ns, &mut Vec::new());
                herd.servers[server].link_measured_again(link, round_trip_ns, now_ns, effects);
            }
        }
        herd.run(20);
    };
    let chosen = before.iter().position(|is_eager| *is_eager).expect("one");
    measure(&mut herd, chosen, 1_400_000);
    let after: Vec<_> = (0..3).map(|edge| eager(&herd, edge)).collect();
    assert_eq!(after, before);
    measure(&mut herd, chosen, 30 * MS);
    assert!(!eager(&herd, chosen), "thirty milliseconds instead of one");
    let count = (0..3).filter(|edge| eager(&herd, *edge)).count();
    assert_eq!(count, 2);
}

/// A newer connection may take the place of a link before anybody has seen that it broke.
#[test]
fn a_link_that_takes_the_place_of_another_is_told_all_link_states() {
    let mut hill = server_with("Hill", Settings::default());
    for _ in 0..2 {
        up(&mut hill, ONE, &[]);
        hill.link_measured(ONE, &origin("Smith"), MS, 0, &mut Vec::new());
        let bytes = drain(&mut hill, ONE, 1 << 20);
        let (frame, _) = frame::decode(&bytes, 1 << 20).unwrap().expect("a frame");
        let Frame::Links(states) = frame else {
            panic!("no LINKS: {frame:?}")
        };
        let servers: Vec<_> = states.iter().map(|s| s.origin.server.as_str()).collect();
        assert_eq!(servers, ["Hill"]);
    }
}

/// Each flood about a link may break the next one: so they grow rarer, down to one a second.
#[test]
fn a_link_that_comes_and_goes_is_told_less_and_less_often() {
    let mut herd = Herd::five(Policy::Tree);
    let told = |herd: &Herd| herd.servers[4].links_told_by(&origin("Hill").server);
    let before = told(&herd);
    for _ in 0..100 {
        herd.cut(0);
        herd.run(25);
        herd.connect(0);
        herd.run(25);
    }
    let count = told(&herd) - before;
    assert!((5..=20).contains(&count), "{count} in five seconds");
    // What it was in the end is told all the same.
    herd.run(1000);
    assert_eq!(herd.servers[4].shape(), Shape::Tree { server_count: 5 });
    // After some calm the next change is told at once.
    herd.run(11_000);
    let before = told(&herd);
    herd.cut(0);
    herd.run(5);
    assert_eq!(told(&herd), before + 1);
}
