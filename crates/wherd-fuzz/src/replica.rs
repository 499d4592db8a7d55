//! What a neighbour may do to a server: any frames, in any order, on links that come and go.

mod claim;
mod counting;
mod follower;
mod journal;
mod positions;
mod side;

use crate::Verdict;
use crate::frames::maximum;
use claim::Claim;
use counting::{Counter, Tally};
use journal::Journal;
use positions::Held;
use side::Side;
use std::collections::BTreeMap;
use wherd_core::{Effect, LinkFault, LinkIndex, Replica, Settings};
use wherd_proto::frame::{self, Frame, Hello, Lane, LinkState, WireVector};
use wherd_proto::{Origin, ServerName};

/// The longest frame of a link, as the configuration's default.
const LIMIT: usize = 1 << 20;
/// Two links of a stranger, and one of a server that keeps the rules.
const LINKS: usize = 3;
const FOLLOWER: LinkIndex = LinkIndex(2);
const MAX_CLIENTS: usize = 8;
const MAX_ARTICLES: usize = 8;
const MAX_ORIGINS: usize = 8;
/// What every wall clock here shows.
const NOW_NS: i64 = 1_000_000_000_000;
/// How long votes wait for others to go with them, and what that is rounded up by.
const COUNTERS_WAIT_NS: u64 = 50_000_000;
const WAIT_STEP_NS: u64 = 2_000_000;
/// How often a link is drained before it is said never to fall silent.
const MAX_DRAINS: usize = 1000;

/// What there is one of for each lane, by `lane as usize`.
type PerLane<T> = [T; 2];

/// Whatever a neighbour sends: what is held of each client is the newest of what was taken, and
/// so is what each run of a server counted of each article; what is reflected never goes back and is
/// raised by COMMITs only, each lane by its own; a frame that faults has no effect; what is sent
/// on is the newest and whole, and nothing that the other side said to have; a link that has
/// something to send was asked to be drained, or will be in time, and falls silent in the end;
/// origins, clients and articles are bounded. After a crash at any moment the journal has what was
/// said to be kept, and in the end a server that keeps the rules has all that there is.
///
/// The bytes are frames, one after another. HELLO brings a link up; REFUSAL, which has no place on
/// it, takes it down. PING does nothing to a replica, so its value says what else happens before
/// the next frame, see `World::act`.
pub fn link(bytes: &[u8]) -> Verdict {
    let mut world = World::new();
    let (mut rest, mut verdict) = (bytes, Verdict::Refused);
    while let Ok(Some((frame, taken))) = frame::decode(rest, LIMIT) {
        let is_telling = matches!(
            frame,
            Frame::Updates(_) | Frame::Counts(_) | Frame::Commit { .. }
        );
        if world.take(&frame) && is_telling {
            verdict = Verdict::Accepted;
        }
        rest = &rest[taken..];
    }
    world.end();
    verdict
}

/// A server, what it must hold, and those around it.
struct World {
    replica: Replica,
    settings: Settings,
    /// The link of the stranger whose turn it is.
    current: LinkIndex,
    sides: [Side; LINKS],
    newest: BTreeMap<Vec<u8>, Held>,
    counts: BTreeMap<Counter, Tally>,
    reflected: PerLane<WireVector>,
    /// Whether something changed that was reflected already: then somebody lied in a COMMIT, or
    /// told two things of one number, and only digests make up for it.
    is_repair_due: PerLane<bool>,
    /// What anybody ever said of links.
    link_states: Vec<LinkState>,
    follower: Replica,
    follower_now_ns: u64,
    journal: Journal,
    now_ns: u64,
    is_tracing: bool,
}

impl World {
    fn new() -> Self {
        let settings = Settings {
            max_clients: MAX_CLIENTS,
            max_articles: MAX_ARTICLES,
            max_origins: MAX_ORIGINS,
            counters_wait_ns: COUNTERS_WAIT_NS,
            has_journal: true,
            digest_interval_ns: 1 << 20,
            ..Settings::default()
        };
        let of_follower = Settings {
            max_origins: 2 * MAX_ORIGINS,
            has_journal: false,
            ..settings
        };
        let mut world = Self {
            replica: Replica::new(&origin("Hill"), LINKS, settings, (1, 2)),
            settings,
            current: LinkIndex(0),
            sides: Default::default(),
            newest: BTreeMap::new(),
            counts: BTreeMap::new(),
            reflected: PerLane::default(),
            is_repair_due: PerLane::default(),
            link_states: Vec::new(),
            follower: Replica::new(&origin("Smith"), 1, of_follower, (3, 4)),
            follower_now_ns: 0,
            journal: Journal::default(),
            now_ns: 0,
            is_tracing: false,
        };
        world.join_follower();
        world.compact();
        world
    }

    /// Takes a frame of the stranger; whether it had its effect.
    fn take(&mut self, frame: &Frame<'_>) -> bool {
        let is_taken = match frame {
            Frame::Hello(hello) => self.bring_up(self.current, hello),
            Frame::Ping(value) => self.act(*value),
            frame => self.receive(self.current, frame),
        };
        self.check();
        is_taken
    }

    fn bring_up(&mut self, link: LinkIndex, hello: &Hello) -> bool {
        self.take_down(link);
        let mut effects = Vec::new();
        let fault = self
            .replica
            .link_up(link, hello, self.now_ns, &mut effects)
            .err();
        let claims = Claim::of_hello(hello);
        if fault.is_none() {
            self.sides[link.0] = Side::of(hello);
            assert!(claims.iter().all(|claim| self.is_right(link, claim, fault)));
        } else {
            assert!(effects.is_empty());
            assert!(claims.iter().any(|claim| self.is_right(link, claim, fault)));
        }
        self.perform(&effects);
        if fault.is_none() && hello.wants_kept {
            let mut effects = Vec::new();
            self.replica.tell_kept(link, &hello.origin, &mut effects);
            self.perform(&effects);
        }
        fault.is_none()
    }

    fn take_down(&mut self, link: LinkIndex) {
        self.replica.link_down(link);
        self.sides[link.0] = Side::default();
    }

    /// The low four bits say what happens, the others how.
    fn act(&mut self, value: u64) -> bool {
        let how = value >> 4;
        match value % 16 {
            0 => self.current = LinkIndex(how as usize % 2),
            1 => _ = self.drain(self.current, how as usize % (1 << 17)),
            2 => self.tick(how % (1 << 40)),
            3 if how.is_multiple_of(2) => self.take_down(self.current),
            3 => self.join_follower(),
            4 => self.report(how),
            5 => _ = self.feed_follower(how as usize % (1 << 17), true),
            6 => self.hear_follower(how % (1 << 30), true),
            7 => self.write_journal(how as usize % (1 << 17)),
            8 => self.flush_journal(),
            9 => self.begin_next(how as usize % (1 << 10)),
            10 => self.compact(),
            11 => self.crash(),
            12 => self.forget(how),
            13 => {
                self.is_tracing = !self.is_tracing;
                self.replica.set_tracing(self.is_tracing);
            }
            14 => self.vote(how),
            _ => self.set_counters_wait([COUNTERS_WAIT_NS, 0][how as usize % 2]),
        }
        true
    }

    fn receive(&mut self, link: LinkIndex, frame: &Frame<'_>) -> bool {
        let is_up = self.sides[link.0].is_up;
        let before = self.tables();
        let mut effects = Vec::new();
        let fault = self
            .replica
            .receive(link, frame, self.now_ns, &mut effects)
            .err();
        let is_right = !is_up || self.is_right(link, &Claim::of(frame), fault);
        assert!(is_right, "{fault:?} for {frame:?}");
        if fault.is_some() {
            assert_eq!(before, self.tables(), "a frame that faults has no effect");
            assert!(effects.is_empty());
            self.take_down(link);
            return false;
        }
        if is_up {
            self.expect(frame);
            self.sides[link.0].note_received(frame);
        }
        if let Frame::Links(states) = frame {
            self.link_states.extend(states.iter().cloned());
        }
        self.perform(&effects);
        is_up
    }

    /// What is held, in a few numbers.
    fn tables(&self) -> (PerLane<(u64, WireVector)>, [usize; 3]) {
        let of_lane = |lane| {
            let digest = self.replica.digest_of(lane).total();
            (digest, self.replica.reflected_of(lane))
        };
        let counts = [
            self.replica.clients_count(),
            self.replica.articles_count(),
            self.replica.counters_count(),
        ];
        (Lane::ALL.map(of_lane), counts)
    }

    /// Whether what a frame claims has this fault, or none.
    fn is_right(&self, link: LinkIndex, claim: &Claim<'_>, fault: Option<LinkFault>) -> bool {
        let me = origin("Hill");
        let last = self.sides[link.0].lanes[claim.lane as usize].last_number;
        let sequence_here = self.replica.sequence_of(claim.lane);
        let is_newer = |o: &&Origin| o.server == me.server && o.incarnation > me.incarnation;
        let is_superseded = claim.origins.iter().any(is_newer);
        match fault {
            None => {
                let has_fault = is_superseded || claim.is_out_of_place;
                !has_fault && claim.own_sequence <= sequence_here && claim.frames_before <= last
            }
            Some(LinkFault::NotNumbered { sequence, numbered }) => {
                numbered == sequence_here && numbered < sequence && sequence <= claim.own_sequence
            }
            Some(LinkFault::Gap { expected }) => expected == last + 1 && claim.frames_before > last,
            Some(LinkFault::OutOfPlace) => claim.is_out_of_place,
            Some(LinkFault::NewerRun { .. }) => is_superseded,
            // How many were heard of is not to be seen from here.
            Some(LinkFault::TooManyOrigins { max }) => max == MAX_ORIGINS,
        }
    }

    /// What a frame that was taken does to what must be held.
    fn expect(&mut self, frame: &Frame<'_>) {
        match frame {
            Frame::Updates(updates) => self.expect_updates(updates),
            Frame::Counts(counts) => self.expect_counts(counts),
            Frame::Commit {
                lane, reflected, ..
            } => {
                let own = &mut self.reflected[*lane as usize];
                *own = maximum(own, reflected);
            }
            _ => {}
        }
    }

    /// Whether a number is reflected already: what it stands for should be held then.
    fn is_reflected(&self, lane: Lane, origin: &Origin, sequence: u64) -> bool {
        let reflected = self.reflected[lane as usize].get(origin);
        reflected.is_some_and(|reflected| *reflected >= sequence)
    }

    /// The number of what this run does next.
    fn next_sequence(&self, lane: Lane) -> u64 {
        let last = self.reflected[lane as usize].get(&origin("Hill"));
        last.map_or(1, |last| last + 1)
    }

    fn tick(&mut self, after_ns: u64) {
        self.now_ns += after_ns;
        let mut effects = Vec::new();
        self.replica.tick(self.now_ns, NOW_NS, &mut effects);
        let next_at_ns = self.replica.next_tick_at_ns();
        assert!(
            next_at_ns.is_none_or(|at_ns| at_ns > self.now_ns),
            "a tick that is due again"
        );
        self.perform(&effects);
    }

    /// Notes what the replica asks for: a link is asked to be drained once, and traces name what is
    /// held.
    fn perform(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::LinkReady(link) => {
                    let side = &mut self.sides[link.0];
                    assert!(!side.is_ready, "asked for again");
                    side.is_ready = true;
                }
                Effect::JournalReady | Effect::Kept => {}
                Effect::Traced(trace) => {
                    assert!(self.is_tracing);
                    assert!(self.newest.contains_key(self.replica.client(trace.client)));
                    let origin = self.replica.origin(trace.origin);
                    assert!(!origin.server.as_str().is_empty());
                }
            }
        }
    }

    /// What a link sends, which is checked; and whether there is more.
    fn drain(&mut self, link: LinkIndex, max_bytes: usize) -> (Vec<u8>, bool) {
        let (mut out, mut effects) = (Vec::new(), Vec::new());
        let has_more = self.replica.drain(link, &mut out, max_bytes, &mut effects);
        let side = &mut self.sides[link.0];
        side.is_ready = has_more;
        assert!(side.is_up || (out.is_empty() && !has_more));
        self.perform(&effects);
        let mut rest = out.as_slice();
        while let Some((frame, taken)) = frame::decode(rest, LIMIT).expect("our own frames") {
            self.check_sent(&frame);
            self.sides[link.0].check_sent(&frame, &self.reflected);
            rest = &rest[taken..];
        }
        assert!(rest.is_empty(), "half a frame is never sent");
        if !has_more {
            self.sides[link.0].note_silence();
        }
        (out, has_more)
    }

    /// What is sent is what is held, and nobody is told of more than is reflected.
    fn check_sent(&self, frame: &Frame<'_>) {
        match frame {
            Frame::Updates(updates) => self.check_updates(updates),
            Frame::Counts(counts) => self.check_counts(counts),
            Frame::Have(lane, vector)
            | Frame::Commit {
                lane,
                reflected: vector,
                ..
            } => {
                let own = &self.reflected[*lane as usize];
                assert_eq!(maximum(vector, own), *own);
            }
            Frame::Digest { lane, digest, .. } => {
                assert_eq!(*digest, self.replica.digest_of(*lane).total());
            }
            Frame::Buckets { lane, buckets, .. } => {
                assert_eq!(buckets, self.replica.digest_of(*lane).buckets());
            }
            Frame::Links(states) => {
                assert!(states.iter().all(|state| self.link_states.contains(state)));
            }
            Frame::Kept(..) => {}
            other => panic!("a replica never sends {other:?}"),
        }
    }

    /// What holds after every step.
    fn check(&self) {
        for lane in Lane::ALL {
            let reflected = &self.reflected[lane as usize];
            assert_eq!(self.replica.reflected_of(lane), *reflected);
            assert!(reflected.len() <= MAX_ORIGINS);
        }
        self.check_clients_count();
        assert_eq!(self.replica.counters_count(), self.counts.len());
        assert_eq!(self.replica.articles_count(), self.articles().len());
        for index in 0..LINKS {
            self.check_waiting(index);
        }
    }

    /// What waits for a link is bounded, and will not be forgotten.
    fn check_waiting(&self, index: usize) {
        let (side, counts) = (
            &self.sides[index],
            self.replica.link_counts(LinkIndex(index)),
        );
        assert_eq!(counts.is_some(), side.is_up);
        let waiting_count = counts.map_or(0, |(_, waiting_count)| waiting_count);
        // Each client and each counter has a slot at most, a counter one more while it waits for its
        // time, and catch-up another look at each.
        assert!(waiting_count <= 2 * self.newest.len() + 3 * self.counts.len());
        if side.is_ready || waiting_count == 0 {
            return;
        }
        assert!(waiting_count <= self.own_counters_count());
        let due_at_ns = self.replica.next_tick_at_ns();
        let latest_ns = self.now_ns + COUNTERS_WAIT_NS + WAIT_STEP_NS;
        assert!(
            due_at_ns.is_some_and(|due_at_ns| due_at_ns <= latest_ns),
            "nobody will drain link {index}"
        );
    }

    /// Every link falls silent, everything can be asked for, and others have it, too.
    fn end(&mut self) {
        self.fall_silent();
        self.tick(COUNTERS_WAIT_NS + WAIT_STEP_NS);
        self.fall_silent();
        for link in (0..LINKS).map(LinkIndex) {
            let waiting_count = self.replica.link_counts(link).map(|(_, count)| count);
            let is_fed = link != FOLLOWER || !self.sides[link.0].is_ready;
            assert!(!is_fed || waiting_count.unwrap_or(0) == 0);
        }
        self.end_journal();
        self.check_positions();
        self.check_likes();
        self.agree();
    }

    /// Sends some of what a link has; whether there is more.
    fn send(&mut self, link: LinkIndex) -> bool {
        if link == FOLLOWER {
            return self.feed_follower(1 << 16, true);
        }
        let (_, has_more) = self.drain(link, 1 << 16);
        has_more
    }

    fn fall_silent(&mut self) {
        for link in (0..LINKS).map(LinkIndex) {
            let mut drains = 0..MAX_DRAINS;
            while self.send(link) {
                assert!(drains.next().is_some(), "{link:?} never falls silent");
            }
        }
        self.check();
    }
}

fn origin(server: &str) -> Origin {
    Origin {
        server: ServerName::new(server).expect("a name"),
        incarnation: 1,
    }
}
