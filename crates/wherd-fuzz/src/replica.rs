//! What a neighbour may do to a server: any frames, in any order, on links that come and go.

use crate::Verdict;
use crate::frames::maximum;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use wherd_core::{Effect, JournalFile, LinkFault, LinkIndex, Outcome, Replica, Settings};
use wherd_proto::frame::{self, Frame, Hello, Updates, WireVector};
use wherd_proto::{AtText, AtTexts, Origin, Report, Request, ServerName};

/// The longest frame of a link, as the configuration's default.
const LIMIT: usize = 1 << 20;
/// Two links of a stranger, and one of a server that keeps the rules.
const LINKS: usize = 3;
const FOLLOWER: LinkIndex = LinkIndex(2);
const MAX_CLIENTS: usize = 8;
const MAX_ORIGINS: usize = 8;
/// What every wall clock here shows.
const NOW_NS: i64 = 1_000_000_000_000;
/// How often a link is drained before it is said never to fall silent.
const MAX_DRAINS: usize = 1000;

/// Whatever a neighbour sends: what is held of each client is the newest of what was taken; what is
/// reflected never goes back and is raised by COMMITs only; a frame that faults has no effect;
/// what is sent on is the newest and whole; a link that has something to send was asked to be drained
/// and falls silent in the end; origins and clients are bounded. After a crash at any moment the
/// journal has what was said to be kept.
///
/// The bytes are frames, one after another. HELLO brings a link up; REFUSAL, which has no place on
/// it, takes it down. PING does nothing to a replica, so its value says what else happens before
/// the next frame, see `World::act`.
pub fn link(bytes: &[u8]) -> Verdict {
    let mut world = World::new();
    let (mut rest, mut verdict) = (bytes, Verdict::Refused);
    while let Ok(Some((frame, taken))) = frame::decode(rest, LIMIT) {
        if world.take(&frame) && matches!(frame, Frame::Updates(_) | Frame::Commit { .. }) {
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
    /// The links of the stranger, and the one whose turn it is.
    current: LinkIndex,
    is_up: [bool; LINKS],
    /// Links that a drain was asked for and that have not been drained to their end.
    is_ready: [bool; LINKS],
    /// The number of the last UPDATES that came, by link.
    last_updates: [u64; LINKS],
    newest: BTreeMap<Vec<u8>, Held>,
    reflected: WireVector,
    follower: Replica,
    journal: Journal,
    now_ns: u64,
    is_tracing: bool,
}

/// The newest report of a client, in order of precedence.
#[derive(Clone, Debug)]
struct Held {
    ordered_at_ns: i64,
    origin: Origin,
    sequence: u64,
    /// Its text; several where a stranger told several of one update, and any of them may be held.
    texts: Vec<Vec<u8>>,
}

/// The files of a journal, and what they must have after a crash.
#[derive(Default)]
struct Journal {
    /// The current file, and how much of it is on the disk.
    current: Vec<u8>,
    flushed_bytes: usize,
    /// The file that is being written to take its place.
    next: Option<Vec<u8>>,
    /// The updates that this run numbered, and of each client all that was ever taken.
    own: Vec<(Vec<u8>, Held)>,
    taken: BTreeMap<Vec<u8>, Vec<Held>>,
}

impl Held {
    fn precedence(&self) -> (i64, &Origin, u64) {
        (self.ordered_at_ns, &self.origin, self.sequence)
    }

    fn may_be(&self, text: &[u8]) -> bool {
        self.texts.iter().any(|own| own == text)
    }

    /// Whether it says that its client is forgotten, where `quantity` is all or any of its texts.
    fn is_forgotten(&self, quantity: fn(&[bool]) -> bool) -> bool {
        let is_forgotten =
            |text: &Vec<u8>| AtText::parse(text).is_some_and(|(at, _)| at.is_forgotten());
        quantity(&self.texts.iter().map(is_forgotten).collect::<Vec<_>>())
    }
}

fn all(of: &[bool]) -> bool {
    of.iter().all(|is| *is)
}

fn any(of: &[bool]) -> bool {
    of.contains(&true)
}

impl World {
    fn new() -> Self {
        let settings = Settings {
            max_clients: MAX_CLIENTS,
            max_origins: MAX_ORIGINS,
            has_journal: true,
            digest_interval_ns: 1 << 20,
            ..Settings::default()
        };
        let of_follower = Settings {
            max_origins: 2 * MAX_ORIGINS,
            ..settings
        };
        let mut world = Self {
            replica: Replica::new(&origin("Hill"), LINKS, settings, (1, 2)),
            current: LinkIndex(0),
            is_up: [false; LINKS],
            is_ready: [false; LINKS],
            last_updates: [0; LINKS],
            newest: BTreeMap::new(),
            reflected: WireVector::new(),
            follower: Replica::new(&origin("Smith"), 1, of_follower, (3, 4)),
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
            Frame::Hello(hello) => self.greet(hello),
            Frame::Ping(value) => self.act(*value),
            frame => self.receive(self.current, frame),
        };
        self.check();
        is_taken
    }

    fn greet(&mut self, hello: &Hello) -> bool {
        let is_up = self.bring_up(self.current, &hello.reflected);
        if is_up && hello.wants_kept {
            let mut effects = Vec::new();
            self.replica
                .tell_kept(self.current, &hello.origin, &mut effects);
            self.perform(&effects);
        }
        is_up
    }

    fn bring_up(&mut self, link: LinkIndex, theirs: &WireVector) -> bool {
        self.take_down(link);
        let mut effects = Vec::new();
        let is_up = self
            .replica
            .link_up(link, theirs, self.now_ns, &mut effects)
            .is_ok();
        self.is_up[link.0] = is_up;
        assert!(is_up || effects.is_empty());
        self.perform(&effects);
        is_up
    }

    fn take_down(&mut self, link: LinkIndex) {
        self.replica.link_down(link);
        (self.is_up[link.0], self.is_ready[link.0]) = (false, false);
        self.last_updates[link.0] = 0;
    }

    /// The low four bits say what happens, the others how.
    fn act(&mut self, value: u64) -> bool {
        let how = value >> 4;
        match value % 16 {
            0 => self.current = LinkIndex(how as usize % 2),
            1 => _ = self.drain(self.current, how as usize % (1 << 17)),
            2 => self.tick(how % (1 << 40)),
            3 => self.take_down(self.current),
            4 => self.report(how),
            5 => self.feed_follower(how as usize % (1 << 17)),
            6 => self.hear_follower(how),
            7 => self.write_journal(how as usize % (1 << 17)),
            8 => self.flush_journal(),
            9 => self.begin_next(how as usize % (1 << 10)),
            10 => self.compact(),
            11 => self.crash(),
            12 => self.forget(how),
            _ => {
                self.is_tracing = !self.is_tracing;
                self.replica.set_tracing(self.is_tracing);
            }
        }
        true
    }

    fn receive(&mut self, link: LinkIndex, frame: &Frame<'_>) -> bool {
        let before = (self.replica.digest().total(), self.replica.clients_count());
        let mut effects = Vec::new();
        let received = self.replica.receive(link, frame, self.now_ns, &mut effects);
        if self.is_up[link.0] {
            self.check_fault(link, frame, received.err());
        }
        if received.is_err() {
            let after = (self.replica.digest().total(), self.replica.clients_count());
            assert_eq!(before, after, "a frame that faults has no effect");
            assert_eq!(self.replica.reflected(), self.reflected);
            assert!(effects.is_empty());
            self.take_down(link);
            return false;
        }
        if self.is_up[link.0] {
            match frame {
                Frame::Updates(updates) => self.expect_updates(updates),
                Frame::Commit { reflected, .. } => {
                    self.reflected = maximum(&self.reflected, reflected);
                }
                _ => {}
            }
        }
        self.perform(&effects);
        self.is_up[link.0]
    }

    /// A frame has a fault where one can be seen, and only there.
    fn check_fault(&mut self, link: LinkIndex, frame: &Frame<'_>, fault: Option<LinkFault>) {
        let me = origin("Hill");
        let (vector, number, told) = match frame {
            Frame::Updates(updates) => {
                let number = updates.number.saturating_sub(1);
                let own = updates
                    .entries
                    .iter()
                    .filter(|(o, _)| updates.origins[*o] == me);
                (None, number, own.map(|(_, update)| update.sequence).max())
            }
            Frame::Commit { number, reflected } => (Some(reflected), *number, None),
            Frame::Have(reflected) => (Some(reflected), 0, None),
            Frame::Kept(sequence) => (None, 0, Some(*sequence)),
            _ => (None, 0, None),
        };
        let told = told.or_else(|| vector?.get(&me).copied()).unwrap_or(0);
        let last = &mut self.last_updates[link.0];
        let is_numbered = told <= self.replica.sequence();
        let of_vector = vector.into_iter().flat_map(|vector| vector.keys());
        let of_updates = match frame {
            Frame::Updates(updates) => updates.origins.as_slice(),
            _ => &[],
        };
        let is_superseded = of_vector
            .chain(of_updates)
            .any(|o| o.server == me.server && o.incarnation > me.incarnation);
        match fault {
            None => {
                let is_sound = is_numbered && !is_superseded && number <= *last;
                assert!(is_sound, "what has a fault was taken");
            }
            Some(LinkFault::NotNumbered { .. }) => assert!(!is_numbered),
            Some(LinkFault::Gap { expected }) => assert!(expected == *last + 1 && number > *last),
            Some(LinkFault::OutOfPlace) => {
                assert!(matches!(
                    frame,
                    Frame::Hello(_) | Frame::Refusal(_) | Frame::Superseded(_)
                ));
            }
            Some(LinkFault::NewerRun { .. }) => assert!(is_superseded),
            // How many were heard of is not to be seen from here.
            Some(LinkFault::TooManyOrigins { max }) => assert_eq!(max, MAX_ORIGINS),
        }
        if let (Frame::Updates(updates), None) = (frame, fault) {
            *last = updates.number.max(*last);
        }
    }

    fn expect_updates(&mut self, updates: &Updates<'_>) {
        for (origin, update) in &updates.entries {
            let held = Held {
                ordered_at_ns: update.ordered_at_ns,
                origin: updates.origins[*origin].clone(),
                sequence: update.sequence,
                texts: vec![update.at.as_bytes().to_vec()],
            };
            self.expect_newest(update.at.client(), held);
        }
    }

    /// Whether it is, or may be; of several texts of one update all are noted.
    fn expect_newest(&mut self, client: &[u8], held: Held) -> bool {
        let order = self
            .newest
            .get(client)
            .map(|other| held.precedence().cmp(&other.precedence()));
        if order == Some(Ordering::Less) {
            return false;
        }
        let taken = self.journal.taken.entry(client.to_vec()).or_default();
        taken.push(held.clone());
        match (order, self.newest.get_mut(client)) {
            (Some(Ordering::Equal), Some(other)) => other.texts.extend(held.texts),
            _ => _ = self.newest.insert(client.to_vec(), held),
        }
        order != Some(Ordering::Equal)
    }

    /// A client of this server reports: one of sixteen, at one of some times around now.
    fn report(&mut self, how: u64) {
        let (client, seconds) = (how % 16, 990 + (how >> 4) % 32);
        let line = format!("IAMAT c{client} +1-{} {seconds}", how % 91);
        let Ok(Request::IAmAt(report)) = Request::parse(line.as_bytes()) else {
            panic!("no report: {line}");
        };
        let (mut texts, mut outcomes, mut effects) = (AtTexts::default(), Vec::new(), Vec::new());
        texts.write(&[report], NOW_NS);
        let reports = std::iter::once(&report).zip(texts.iter());
        self.replica
            .report(reports, NOW_NS, self.now_ns, &mut outcomes, &mut effects);
        let text = texts.iter().next().map(|at| at.as_bytes().to_vec());
        let expected = self.expect_report(&report, text.unwrap_or_default());
        assert_eq!(outcomes, [expected]);
        self.perform(&effects);
    }

    fn expect_report(&mut self, report: &Report<'_>, text: Vec<u8>) -> Outcome {
        let is_known = self.newest.contains_key(report.client);
        if self.newest.len() >= MAX_CLIENTS && !is_known {
            return Outcome::Full;
        }
        let me = origin("Hill");
        let sequence = self.reflected.get(&me).map_or(1, |last| last + 1);
        let held = Held {
            ordered_at_ns: report
                .reported_at
                .saturating_ns()
                .min(NOW_NS + 5_000_000_000),
            origin: me.clone(),
            sequence,
            texts: vec![text],
        };
        self.journal
            .own
            .push((report.client.to_vec(), held.clone()));
        self.reflected.insert(me, sequence);
        if self.expect_newest(report.client, held) {
            Outcome::Accepted
        } else {
            Outcome::Older
        }
    }

    /// One of the clients of [`World::report`] is forgotten, if it is known.
    fn forget(&mut self, how: u64) {
        let client = format!("c{}", how % 16).into_bytes();
        let is_known = self.replica.locate(&client, NOW_NS).is_some();
        let held = self.newest.get(&client).filter(|_| is_known);
        let expected = held.map(|held| held.ordered_at_ns.saturating_add(1).max(NOW_NS));
        let mut effects = Vec::new();
        let is_forgotten = self
            .replica
            .forget(&client, NOW_NS, self.now_ns, &mut effects);
        assert_eq!(is_forgotten, expected.is_some());
        if let Some(ordered_at_ns) = expected {
            let me = origin("Hill");
            let sequence = self.reflected.get(&me).map_or(1, |last| last + 1);
            let mut text = Vec::new();
            AtText::write_forgotten(&mut text, &client, ordered_at_ns);
            let held = Held {
                ordered_at_ns,
                origin: me.clone(),
                sequence,
                texts: vec![text],
            };
            self.reflected.insert(me, sequence);
            self.journal.own.push((client.clone(), held.clone()));
            self.expect_newest(&client, held);
        }
        self.perform(&effects);
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
                    assert!(!self.is_ready[link.0], "asked for again");
                    self.is_ready[link.0] = true;
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
        self.is_ready[link.0] = has_more;
        assert!(self.is_up[link.0] || (out.is_empty() && !has_more));
        self.perform(&effects);
        let mut rest = out.as_slice();
        while let Some((frame, taken)) = frame::decode(rest, LIMIT).expect("our own frames") {
            self.check_sent(&frame);
            rest = &rest[taken..];
        }
        assert!(rest.is_empty(), "half a frame is never sent");
        (out, has_more)
    }

    /// What is sent of a client is what is held, and nobody is told of more than is reflected.
    fn check_sent(&self, frame: &Frame<'_>) {
        match frame {
            Frame::Updates(updates) => {
                assert!(!updates.entries.is_empty());
                for (origin, update) in &updates.entries {
                    let held = &self.newest[update.at.client()];
                    assert!(held.may_be(update.at.as_bytes()));
                    assert_eq!(held.origin, updates.origins[*origin]);
                    let numbers = (update.sequence, update.ordered_at_ns);
                    assert_eq!((held.sequence, held.ordered_at_ns), numbers);
                }
            }
            Frame::Have(vector)
            | Frame::Commit {
                reflected: vector, ..
            } => assert_eq!(maximum(vector, &self.reflected), self.reflected),
            Frame::Kept(sequence) => {
                assert!(
                    self.reflected
                        .values()
                        .any(|reflected| sequence <= reflected)
                );
            }
            Frame::Digest { digest, .. } => assert_eq!(*digest, self.replica.digest().total()),
            Frame::Buckets { buckets, .. } => assert_eq!(buckets, self.replica.digest().buckets()),
            other => panic!("a replica never sends {other:?}"),
        }
    }

    /// The follower takes what its link has, and faults only where somebody made up its own numbers.
    fn feed_follower(&mut self, max_bytes: usize) {
        let (out, _) = self.drain(FOLLOWER, max_bytes);
        let mut rest = out.as_slice();
        while let Some((frame, taken)) = frame::decode(rest, LIMIT).expect("our own frames") {
            let received =
                self.follower
                    .receive(LinkIndex(0), &frame, self.now_ns, &mut Vec::new());
            if let Err(fault) = received {
                let is_made_up = matches!(
                    fault,
                    LinkFault::NotNumbered { .. } | LinkFault::NewerRun { .. }
                );
                assert!(is_made_up, "{fault}");
                return self.join_follower();
            }
            rest = &rest[taken..];
        }
    }

    /// Connects the follower anew, where both sides will have it.
    fn join_follower(&mut self) {
        let theirs = self.follower.reflected();
        self.follower.link_down(LinkIndex(0));
        if self.bring_up(FOLLOWER, &theirs) {
            let joined =
                self.follower
                    .link_up(LinkIndex(0), &self.reflected, self.now_ns, &mut Vec::new());
            if joined.is_err() {
                self.take_down(FOLLOWER);
            }
        }
    }

    /// The follower says what it has to say.
    fn hear_follower(&mut self, after_ns: u64) {
        let at_ns = self.now_ns + after_ns % (1 << 30);
        self.follower.tick(at_ns, NOW_NS, &mut Vec::new());
        let mut out = Vec::new();
        self.follower
            .drain(LinkIndex(0), &mut out, 1 << 16, &mut Vec::new());
        let mut rest = out.as_slice();
        while let Some((frame, taken)) = frame::decode(rest, LIMIT).expect("our own frames") {
            if !self.receive(FOLLOWER, &frame) {
                return;
            }
            rest = &rest[taken..];
        }
    }

    /// What the current file lacks goes to its end, not yet to the disk.
    fn write_journal(&mut self, max_bytes: usize) {
        let (out, _) = self.drain_journal(JournalFile::Current, max_bytes);
        self.journal.current.extend(out);
    }

    fn flush_journal(&mut self) {
        let mut effects = Vec::new();
        self.replica.journal_flushed(&mut effects);
        self.journal.flushed_bytes = self.journal.current.len();
        self.perform(&effects);
    }

    /// Begins the next file, or goes on with it.
    fn begin_next(&mut self, max_bytes: usize) {
        if self.journal.next.is_none() {
            let mut effects = Vec::new();
            self.replica.begin_journal(&mut effects);
            self.perform(&effects);
        }
        let (out, _) = self.drain_journal(JournalFile::Next, max_bytes);
        self.journal.next.get_or_insert_default().extend(out);
    }

    /// Ends the next file, whether begun or not, which takes the place of the current one.
    fn compact(&mut self) {
        self.begin_next(0);
        let mut file = self.journal.next.take().unwrap_or_default();
        let mut drains = 0..MAX_DRAINS;
        loop {
            let (out, has_more) = self.drain_journal(JournalFile::Next, 1 << 16);
            file.extend(out);
            if !has_more {
                break;
            }
            assert!(drains.next().is_some(), "the journal has no end");
        }
        (self.journal.flushed_bytes, self.journal.current) = (file.len(), file);
        let mut effects = Vec::new();
        self.replica.switch_journal(&mut effects);
        self.perform(&effects);
    }

    fn drain_journal(&mut self, file: JournalFile, max_bytes: usize) -> (Vec<u8>, bool) {
        let (mut out, mut effects) = (Vec::new(), Vec::new());
        let has_more = self
            .replica
            .drain_journal(file, &mut out, max_bytes, &mut effects);
        self.perform(&effects);
        let mut rest = out.as_slice();
        while let Some((frame, taken)) = frame::decode(rest, LIMIT).expect("our own frames") {
            self.check_sent(&frame);
            rest = &rest[taken..];
        }
        (out, has_more)
    }

    /// The run after a crash has, of each client, its newest kept report of this run or a newer
    /// one that this run had taken.
    fn crash(&mut self) {
        let after = replayed(&self.journal.current[..self.journal.flushed_bytes]);
        let kept = self.replica.kept_sequence(0);
        assert!(kept <= self.replica.sequence());
        assert!(after.reflected().get(&origin("Hill")).copied().unwrap_or(0) >= kept);
        for (client, update) in &self.journal.own {
            if update.sequence <= kept {
                let located = after.locate(client, NOW_NS);
                let is_it = |held: &&Held| match located {
                    Some(located) => {
                        held.may_be(located.at.as_bytes()) && held.origin == *located.origin
                    }
                    None => held.is_forgotten(all),
                };
                // Texts of one origin may be alike, but the newest of them is as good.
                let held = self.journal.taken[client].iter().rfind(is_it);
                assert!(held.is_some_and(|held| held.precedence() >= update.precedence()));
            }
        }
    }

    /// With all of it written, the journal has all that there is.
    fn end_journal(&mut self) {
        let mut drains = 0..MAX_DRAINS;
        loop {
            let (out, has_more) = self.drain_journal(JournalFile::Current, 1 << 16);
            self.journal.current.extend(out);
            if !has_more {
                break;
            }
            assert!(drains.next().is_some(), "the journal has no end");
        }
        self.flush_journal();
        self.crash();
        assert_eq!(self.replica.kept_sequence(0), self.replica.sequence());
        let after = replayed(&self.journal.current);
        assert_eq!(after.digest().total(), self.replica.digest().total());
        assert_eq!(after.reflected(), self.reflected);
    }

    /// What holds after every step.
    fn check(&self) {
        assert_eq!(self.replica.reflected(), self.reflected);
        assert!(self.reflected.len() <= MAX_ORIGINS);
        let known_count = |quantity| {
            let known = self.newest.values();
            known.filter(|held| !held.is_forgotten(quantity)).count()
        };
        let known_counts = known_count(any)..=known_count(all);
        assert!(known_counts.contains(&self.replica.clients_count()));
        for (index, is_ready) in self.is_ready.iter().enumerate() {
            let counts = self.replica.link_counts(LinkIndex(index));
            assert_eq!(counts.is_some(), self.is_up[index]);
            let waiting_count = counts.map_or(0, |(_, waiting_count)| waiting_count);
            assert!(
                *is_ready || waiting_count == 0,
                "nobody will drain link {index}"
            );
            // Each client has a slot at most, and catch-up another look at each.
            assert!(waiting_count <= 2 * self.newest.len());
        }
    }

    /// Every link falls silent, and everything can be asked for.
    fn end(&mut self) {
        for link in (0..LINKS).map(LinkIndex) {
            let mut drains = 0..MAX_DRAINS;
            while self.drain(link, 1 << 16).1 {
                assert!(drains.next().is_some(), "{link:?} never falls silent");
            }
        }
        self.end_journal();
        for (client, held) in &self.newest {
            let located = self.replica.locate(client, NOW_NS);
            match located {
                Some(located) => {
                    assert!(held.may_be(located.at.as_bytes()) && !located.at.is_forgotten());
                    assert_eq!(*located.origin, held.origin);
                }
                None => assert!(held.is_forgotten(any)),
            }
        }
    }
}

/// The next run of the server, which has what a file has.
fn replayed(mut file: &[u8]) -> Replica {
    let me = Origin {
        incarnation: 2,
        ..origin("Hill")
    };
    // It is a run itself.
    let settings = Settings {
        max_origins: MAX_ORIGINS + 1,
        ..Settings::default()
    };
    let mut replica = Replica::new(&me, LINKS, settings, (5, 6));
    while let Some((frame, taken)) = frame::decode(file, LIMIT).expect("our own frames") {
        replica.replay(&frame).expect("a frame of a journal");
        file = &file[taken..];
    }
    replica
}

fn origin(server: &str) -> Origin {
    Origin {
        server: ServerName::new(server).expect("a name"),
        incarnation: 1,
    }
}
