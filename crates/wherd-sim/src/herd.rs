//! A simulated herd, and the parts of its run.

use crate::agenda::{Agenda, Connection, Event};
use crate::checker::{Checker, Invariant, Store, Subject, Violation, agree_summed, broken};
use crate::fault::Fault;
use crate::journal::GROWTH;
use crate::network::{End, EndIndex};
use crate::random::Random;
use crate::scenario::{Burst, Level, S, Scenario};
use crate::server::{Server, WALL_START_NS};
use crate::trace::Trace;
use std::collections::BTreeMap;
use wherd_core::{Effect, LinkIndex, Replica, Vote, replica};
use wherd_proto::frame::Lane;
use wherd_proto::journal;

/// How long after the last fault all servers agree and are silent.
const AGREE_WITHIN_NS: u64 = 5 * S;
/// How many flushes more there may be where there are counters to write, too.
const COUNTERS_FLUSHES: u64 = 5;
/// How long it is seen to be silent where digests are compared.
const WATCH_NS: u64 = 2 * S;
/// What a batch's header and its COMMIT take, where many runs have numbered something.
const COMMIT_BYTES: usize = 1024;
/// Some times more than any herd needs for a burst, or to fall silent.
const MOST_EVENTS: u64 = 400_000;
/// What an entry takes beside its text, an origin in a vector, at the most.
const ENTRY_BYTES: usize = 100;
const ORIGIN_BYTES: usize = 30;
/// How many clients report in the quiet herd.
const PROBES: usize = 2;
/// How far a clock may be off beyond its skew: what it drifts between two bursts.
pub(crate) const MOST_DRIFT_NS: i64 = 4 * S as i64;

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The first promise that was broken, and when; `None` where all were kept.
    pub violation: Option<(u64, Violation)>,
    /// The same for the same events, byte for byte.
    pub trace_hash: u64,
    /// What happened, for reading; empty unless asked for.
    pub trace: String,
    /// How many events there were.
    pub event_count: u64,
    /// How much time passed.
    pub virtual_ns: u64,
    /// How many faults struck, of each sort. One that met nothing does not count.
    pub faults: BTreeMap<Fault, u64>,
    /// How many reports were acknowledged, by level.
    pub acknowledged: BTreeMap<Level, u64>,
    /// The same of votes.
    pub votes_acknowledged: BTreeMap<Level, u64>,
    /// How long after a last fault the herd was silent, at the most.
    pub silent_after_ns: u64,
    /// What single updates and votes cost in the quiet herd.
    pub probes: Vec<Probe>,
}

/// One update or vote in a quiet herd.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Which of the two.
    pub lane: Lane,
    /// The server that numbered it.
    pub server: usize,
    /// How often it was sent on a link.
    pub sent_count: u64,
    /// How long it took to each server.
    pub arrived_after_ns: Vec<u64>,
}

/// Plays a scenario.
#[must_use]
pub fn run(scenario: &Scenario, trace: Trace) -> Outcome {
    let mut herd = Herd::new(scenario, trace);
    let violation = herd.play().err();
    Outcome {
        violation: violation.map(|violation| (herd.now_ns, violation)),
        trace_hash: herd.trace.hash(),
        trace: herd.trace.into_text(),
        event_count: herd.event_count,
        virtual_ns: herd.now_ns,
        faults: herd.faults,
        acknowledged: herd.acknowledged,
        votes_acknowledged: herd.votes_acknowledged,
        silent_after_ns: herd.silent_after_ns,
        probes: herd.probes,
    }
}

/// All of a simulation's state.
pub(crate) struct Herd<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) random: Random,
    /// What is drawn of votes alone.
    pub(crate) votes: Random,
    pub(crate) now_ns: u64,
    pub(crate) agenda: Agenda,
    pub(crate) servers: Vec<Server>,
    pub(crate) ends: Vec<End>,
    /// Which edges carry nothing.
    pub(crate) is_cut: Vec<bool>,
    /// Which servers stay down though faults have stopped.
    pub(crate) is_away: Vec<bool>,
    /// Which servers are not started, since another has their name.
    pub(crate) is_retired: Vec<bool>,
    /// Which servers were told of a newer run of their name since faults have stopped.
    pub(crate) is_fenced: Vec<bool>,
    /// When the last of them was.
    pub(crate) fenced_at_ns: u64,
    /// Which edges stay cut though faults have stopped.
    pub(crate) is_edge_away: Vec<bool>,
    pub(crate) connection_count: Connection,
    pub(crate) is_faulty: bool,
    /// Whether anybody waits for what neighbours keep.
    pub(crate) wants_kept: bool,
    pub(crate) faults: BTreeMap<Fault, u64>,
    pub(crate) acknowledged: BTreeMap<Level, u64>,
    pub(crate) votes_acknowledged: BTreeMap<Level, u64>,
    pub(crate) checker: Checker,
    pub(crate) trace: Trace,
    /// Entries that all replicas have sent, by lane.
    pub(crate) sent_counts: [u64; 2],
    /// When somebody last said something but a digest.
    pub(crate) last_talk_ns: u64,
    burst: usize,
    /// In this burst.
    pub(crate) report_count: u32,
    /// Of all reports one by one, so that no two have the same text.
    pub(crate) text_count: u32,
    event_count: u64,
    /// How many there may be before something else must have happened.
    most_events: u64,
    silent_after_ns: u64,
    probes: Vec<Probe>,
}

impl<'a> Herd<'a> {
    fn new(scenario: &'a Scenario, trace: Trace) -> Self {
        let topology = &scenario.topology;
        let mut random = Random::new(scenario.seed);
        let mut ends_of = vec![Vec::new(); topology.names().len()];
        let mut neighbours = vec![Vec::new(); topology.names().len()];
        let mut ends = Vec::new();
        for (a, b) in topology.edges() {
            for (server, neighbour) in [(*a, *b), (*b, *a)] {
                let link = LinkIndex(ends_of[server].len());
                ends_of[server].push(EndIndex(ends.len()));
                ends.push(End::new(server, link));
                neighbours[server].push(neighbour);
            }
        }
        let named = topology.names().iter().cloned().zip(ends_of);
        let servers: Vec<_> = named
            .map(|(name, ends)| Server::new(name, ends, scenario, &mut random))
            .collect();
        let clients = (0..scenario.load.client_count).map(client_name).collect();
        let articles = (0..scenario.load.article_count).map(article_name).collect();
        let is_neighbours = |level: &Level| matches!(level, Level::Neighbours(_));
        Self {
            checker: Checker::new(clients, articles, neighbours),
            scenario,
            random,
            votes: Random::new(!scenario.seed),
            now_ns: 0,
            agenda: Agenda::default(),
            is_away: vec![false; servers.len()],
            is_fenced: vec![false; servers.len()],
            fenced_at_ns: 0,
            is_retired: (0..servers.len())
                .map(|server| topology.twin_of(server).is_some_and(|twin| twin < server))
                .collect(),
            servers,
            ends,
            is_cut: vec![false; topology.edges().len()],
            is_edge_away: vec![false; topology.edges().len()],
            connection_count: 0,
            is_faulty: true,
            wants_kept: scenario.load.levels.iter().any(is_neighbours),
            faults: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            votes_acknowledged: BTreeMap::new(),
            trace,
            sent_counts: [0; 2],
            last_talk_ns: 0,
            burst: 0,
            report_count: 0,
            text_count: 0,
            event_count: 0,
            most_events: MOST_EVENTS,
            silent_after_ns: 0,
            probes: Vec::new(),
        }
    }

    /// The burst that goes on, or was the last.
    pub(crate) fn burst(&self) -> &'a Burst {
        &self.scenario.bursts[self.burst]
    }

    fn play(&mut self) -> Result<(), Violation> {
        let all = self.all();
        all.into_iter().try_for_each(|server| self.start(server))?;
        for burst in 0..self.scenario.bursts.len() {
            self.burst = burst;
            self.play_burst()?;
            let is_last = burst + 1 == self.scenario.bursts.len();
            self.heal_and_agree(is_last)?;
            self.be_quiet()?;
            if is_last || !self.is_anything_away() {
                self.probe()?;
            }
        }
        Ok(())
    }

    fn play_burst(&mut self) -> Result<(), Violation> {
        self.is_faulty = true;
        self.report_count = 0;
        self.most_events = self.event_count + MOST_EVENTS;
        self.agenda.put(self.now_ns, Event::Report);
        self.agenda.put(self.now_ns, Event::Fault);
        self.call_back();
        while self.report_count < self.burst().report_count {
            self.step()?;
        }
        Ok(())
    }

    /// What was away returns, some time.
    fn call_back(&mut self) {
        for server in 0..self.servers.len() {
            if std::mem::take(&mut self.is_away[server]) {
                let at_ns = self.now_ns + self.lasting_ns();
                self.agenda.put(at_ns, Event::Start(server));
            }
        }
        for edge in 0..self.is_cut.len() {
            if std::mem::take(&mut self.is_edge_away[edge]) {
                let at_ns = self.now_ns + self.lasting_ns();
                self.agenda.put(at_ns, Event::Mended(edge));
            }
        }
    }

    /// Whether a server stays down.
    pub(crate) fn is_gone(&self, server: usize) -> bool {
        self.is_away[server] || self.is_retired[server]
    }

    fn is_anything_away(&self) -> bool {
        self.is_away.contains(&true) || self.is_edge_away.contains(&true)
    }

    /// Faults stop, and each part of the herd that is connected agrees and falls silent.
    fn heal_and_agree(&mut self, is_last: bool) -> Result<(), Violation> {
        if !is_last {
            self.draw_away();
        }
        self.heal()?;
        self.most_events = self.event_count + MOST_EVENTS;
        let healed_at_ns = self.now_ns;
        let servers = 0..self.servers.len();
        let held: Vec<_> = servers.map(|server| self.checker.held(server)).collect();
        self.is_fenced.fill(false);
        self.run_until_silent()?;
        let silent_after_ns = self.last_talk_ns.saturating_sub(healed_at_ns);
        self.silent_after_ns = self.silent_after_ns.max(silent_after_ns);
        // As they are by now: who was told that a newer run has its name may have been the bridge.
        for part in &self.parts() {
            self.check_names(part)?;
            self.observe_part(part)?;
            let newest = self.newest_of(part, &held);
            self.checker
                .agree(&replicas(&self.servers, part), &newest)?;
            part.iter()
                .try_for_each(|server| self.check_kept(*server))?;
        }
        if !self.is_anything_away() {
            let stores = self.stores();
            let replicas = replicas(&self.servers, &self.all());
            self.checker.settle(&replicas, &stores)?;
        }
        Ok(())
    }

    /// Of two with one name that reach each other only one runs, once the newer one has been heard
    /// of. (What neighbours make of two HELLOs with one name is not modelled: the two have links
    /// of their own.)
    fn check_names(&self, part: &[usize]) -> Result<(), Violation> {
        for server in part {
            let twin = self.scenario.topology.twin_of(*server);
            let twin = twin.filter(|twin| part.contains(twin));
            let replica = |server: usize| self.servers[server].replica.as_ref();
            let (Some(older), Some(newer)) = (replica(*server), twin.and_then(replica)) else {
                continue;
            };
            if older.me() < newer.me() && newer.sequence() > 0 {
                return broken(Invariant::Duplicate, || {
                    format!("{} and {}", older.me(), newer.me())
                });
            }
        }
        Ok(())
    }

    /// All servers that are not gone.
    fn all(&self) -> Vec<usize> {
        let all = 0..self.servers.len();
        all.filter(|server| !self.is_gone(*server)).collect()
    }

    /// The newest that these servers held when faults stopped, but for those that were told since
    /// that a newer run has their name.
    fn newest_of(&self, part: &[usize], held: &[Store]) -> Store {
        let mut newest = Store::new();
        for server in part.iter().filter(|server| !self.is_fenced[**server]) {
            for (subject, held) in &held[*server] {
                let known = newest
                    .entry(subject.clone())
                    .or_insert_with(|| held.clone());
                *known = held.max(known).clone();
            }
        }
        newest
    }

    fn draw_away(&mut self) {
        let per_mille = self.burst().away_per_mille;
        if per_mille > 0 {
            for server in 0..self.servers.len() {
                self.is_away[server] = self.random.chance(per_mille);
            }
            for edge in 0..self.is_cut.len() {
                self.is_edge_away[edge] = self.random.chance(per_mille / 2);
            }
        }
    }

    /// Servers that reach each other.
    fn parts(&self) -> Vec<Vec<usize>> {
        let mut part_of: Vec<_> = (0..self.servers.len()).collect();
        for _ in 0..self.servers.len() {
            for (edge, (a, b)) in self.scenario.topology.edges().iter().enumerate() {
                if !self.is_edge_away[edge] && !self.is_gone(*a) && !self.is_gone(*b) {
                    let least = part_of[*a].min(part_of[*b]);
                    (part_of[*a], part_of[*b]) = (least, least);
                }
            }
        }
        let mut parts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (server, part) in part_of.into_iter().enumerate() {
            if !self.is_gone(server) {
                parts.entry(part).or_default().push(server);
            }
        }
        parts.into_values().collect()
    }

    /// How many bytes the journal of a server that holds this has when it is new.
    fn compacted_bytes(&self, replica: &Replica) -> usize {
        let clients = (0..self.scenario.load.client_count).map(client_name);
        let located = clients.filter_map(|client| {
            let located = replica.locate(client.as_bytes(), 0)?;
            Some(located.at.as_bytes().len() + ENTRY_BYTES)
        });
        let counts = replica.all_counts();
        let counted = counts.map(|counted| counted.count.article.len() + ENTRY_BYTES);
        let vectors = Lane::ALL.map(|lane| replica.reflected_of(lane).len() * ORIGIN_BYTES);
        let entries_bytes = located.sum::<usize>() + counted.sum::<usize>();
        entries_bytes + vectors.iter().sum::<usize>() + journal::HEADER_BYTES
    }

    fn observe_part(&mut self, part: &[usize]) -> Result<(), Violation> {
        part.iter().try_for_each(|server| self.observe_all(*server))
    }

    pub(crate) fn observe_all(&mut self, server: usize) -> Result<(), Violation> {
        let Some(replica) = &self.servers[server].replica else {
            return Ok(());
        };
        self.checker.observe(server, replica)
    }

    /// A silent server has on its disk what it holds, and has answered who could be answered.
    fn check_kept(&self, server: usize) -> Result<(), Violation> {
        let here = &self.servers[server];
        let Some(replica) = &here.replica else {
            return Ok(());
        };
        if replica.is_catching_up() {
            return broken(Invariant::Readiness, || {
                format!("{} catches up", replica.me())
            });
        }
        let link_count = self.link_count(server);
        let waits = |level| match level {
            Level::Memory | Level::Disk => true,
            Level::Neighbours(count) => count <= link_count,
        };
        if let Some(pending) = here.pending.iter().find(|pending| waits(pending.level)) {
            return broken(Invariant::Unanswered, || {
                format!("{}: {pending:?}", here.name)
            });
        }
        let Some(file) = here.disk.current.as_ref().filter(|_| here.has_journal) else {
            return Ok(());
        };
        if file.is_damaged || self.faults.contains_key(&Fault::Rot) {
            return Ok(());
        }
        let after = self.after_crash(server);
        agree_summed(replica, &after, || format!("{} and its disk", here.name))?;
        let least_bytes = self.compacted_bytes(replica);
        let most_bytes = (3 * GROWTH * least_bytes).max(2 * self.scenario.disks.compact_bytes);
        // What one batch says of all runs, which may be most of a small file.
        let most_bytes = most_bytes + COMMIT_BYTES;
        // A compaction that failed is tried again when there is more to write.
        if file.bytes.len() > most_bytes && !here.worker.has_failed() {
            return broken(Invariant::DiskBound, || {
                let bytes = file.bytes.len();
                format!("{}: {bytes} bytes for {least_bytes}", here.name)
            });
        }
        Ok(())
    }

    /// How many links a server can have.
    fn link_count(&self, server: usize) -> usize {
        let is_there = |end: &&EndIndex| {
            let peer = self.ends[end.peer().0].server;
            !self.is_edge_away[end.edge()] && !self.is_gone(peer)
        };
        self.servers[server].ends.iter().filter(is_there).count()
    }

    /// Once more for some clients, one by one and with true times, when no clock can block them
    /// any more.
    fn probe(&mut self) -> Result<(), Violation> {
        let most_skew_ns = 2 * self.scenario.clocks.skew_ns + 2 * MOST_DRIFT_NS.unsigned_abs();
        let wait_ns = self.scenario.settings.max_ahead_ns.unsigned_abs() + most_skew_ns;
        self.run_until(self.now_ns + wait_ns)?;
        for client in 0..PROBES.min(self.scenario.load.client_count) {
            // After the reports of a batch that came at the same time.
            self.run_until(self.now_ns + 1)?;
            let server = self.random.pick(&self.all());
            if !self.checker.is_far_ahead(server, client) {
                self.probe_one(server, client)?;
            }
        }
        if self.scenario.load.article_count > 0 {
            let all = self.all();
            let server = self.votes.pick(&all);
            self.probe_vote(server)?;
        }
        Ok(())
    }

    fn probe_one(&mut self, server: usize, client: usize) -> Result<(), Violation> {
        let (sent_before, told_at_ns) = (self.sent_counts, self.now_ns);
        let line = self.line(client, WALL_START_NS + self.now_ns as i64);
        if self.report(server, &[line])? != [replica::Outcome::Accepted] {
            return broken(Invariant::BlockedByClock, || client_name(client));
        }
        self.watch_probe(server, &Subject::Client(client), (sent_before, told_at_ns))
    }

    fn probe_vote(&mut self, server: usize) -> Result<(), Violation> {
        let (sent_before, told_at_ns) = (self.sent_counts, self.now_ns);
        self.vote(server, (0, Vote::Like), Level::Memory)?;
        let subject = Subject::Counter(0, self.servers[server].origin());
        self.watch_probe(server, &subject, (sent_before, told_at_ns))
    }

    fn watch_probe(
        &mut self,
        server: usize,
        subject: &Subject,
        (sent_before, told_at_ns): ([u64; 2], u64),
    ) -> Result<(), Violation> {
        self.run_until_silent()?;
        let all = self.all();
        self.observe_part(&all)?;
        let stores = self.stores();
        let replicas = replicas(&self.servers, &all);
        self.checker.agree(&replicas, &Store::new())?;
        self.checker.settle(&replicas, &stores)?;
        let lane = subject.lane();
        let sent_count = self.sent_counts[lane as usize] - sent_before[lane as usize];
        // Also where a link that is lazy does not wait long enough for what is slow to come.
        let most = self.scenario.topology.flood_sends();
        if sent_count > most {
            return broken(Invariant::Sends, || format!("{sent_count}, over {most}"));
        }
        let held_since_ns = self.checker.held_since_ns(&all, subject);
        self.probes.push(Probe {
            lane,
            server,
            sent_count,
            arrived_after_ns: held_since_ns
                .iter()
                .map(|at_ns| at_ns - told_at_ns)
                .collect(),
        });
        Ok(())
    }

    /// Runs until nothing is said any more but digests.
    fn run_until_silent(&mut self) -> Result<(), Violation> {
        let (within_ns, healed_at_ns) = (self.agree_within_ns(), self.now_ns);
        // Who is told that a newer run has its name is one more that dies.
        let deadline_ns = |herd: &Self| healed_at_ns.max(herd.fenced_at_ns) + within_ns;
        let settings = &self.scenario.settings;
        if settings.digest_interval_ns > 0 || settings.away_limit_ns > 0 {
            self.run_until(deadline_ns(self) + WATCH_NS)?;
            if self.last_talk_ns > deadline_ns(self) {
                return broken(Invariant::Silence, || "it goes on".into());
            }
            return Ok(());
        }
        while let Some((at_ns, event)) = self.agenda.next() {
            if self.is_void(event) {
                self.agenda.take();
                continue;
            }
            if at_ns > deadline_ns(self) {
                return broken(Invariant::Silence, || {
                    format!("{event:?} is to come at {:.6} s", at_ns as f64 / 1e9)
                });
            }
            self.step()?;
        }
        Ok(())
    }

    fn agree_within_ns(&self) -> u64 {
        let mut within_ns = AGREE_WITHIN_NS;
        if self.scenario.load.article_count > 0 {
            within_ns += COUNTERS_FLUSHES * self.scenario.disks.flush_ns.end;
        }
        // Who was killed when faults stopped may be the first to hold something else.
        let may_rot = self.burst().faults.per_mille.get(&Fault::Rot) > Some(&0);
        if may_rot || self.faults.contains_key(&Fault::Rot) {
            // What has changed by itself is repaired from one server to the next.
            let hops = self.servers.len() as u64 + 1;
            within_ns += hops * self.scenario.settings.digest_interval_ns;
        }
        within_ns
    }

    /// Lets time pass.
    fn run_until(&mut self, until_ns: u64) -> Result<(), Violation> {
        while let Some((at_ns, event)) = self.agenda.next() {
            if self.is_void(event) {
                self.agenda.take();
                continue;
            }
            if at_ns > until_ns {
                break;
            }
            self.step()?;
        }
        self.now_ns = self.now_ns.max(until_ns);
        Ok(())
    }

    /// Hours in which nothing happens, but that digests are compared.
    fn be_quiet(&mut self) -> Result<(), Violation> {
        let before = self.diverged_count();
        self.most_events = self.event_count + MOST_EVENTS;
        self.run_until(self.now_ns + self.burst().quiet_ns)?;
        if self.diverged_count() > before && !self.faults.contains_key(&Fault::Rot) {
            return broken(Invariant::Diverged, || "in quiet hours".into());
        }
        Ok(())
    }

    fn diverged_count(&self) -> u64 {
        let replicas = self.servers.iter().flat_map(|server| &server.replica);
        replicas.map(|replica| replica.counts().diverged).sum()
    }

    /// The next event, or its delay where it concerns a server that stands still.
    fn step(&mut self) -> Result<(), Violation> {
        let Some((at_ns, event)) = self.agenda.take() else {
            return broken(Invariant::Silence, || "the load has stopped".into());
        };
        self.event_count += 1;
        if self.event_count > self.most_events {
            return broken(Invariant::Silence, || format!("{MOST_EVENTS} events"));
        }
        self.now_ns = at_ns;
        if let Some(server) = self.server_of(event)
            && self.servers[server].is_paused
        {
            self.servers[server].delayed.push(event);
            return Ok(());
        }
        self.trace.mix(&(at_ns, event));
        match event {
            Event::Report => return self.hear_clients(),
            Event::Write(end, connection) => return self.write_link(end, connection),
            Event::Deliver(end, connection) => return self.deliver(end, connection),
            Event::Tick(server) => return self.tick(server),
            Event::Disk(server, run) => return self.disk_done(server, run),
            Event::Start(server) => return self.start(server),
            Event::Fault => return self.strike(),
            Event::Mended(edge) => self.mend(edge),
            Event::GoOn(server) => self.go_on(server),
            Event::Dial(end) => self.dial(end),
            Event::Notice(end, connection) => self.notice(end, connection),
        }
        Ok(())
    }

    /// Whether nothing will come of an event: faults stopped, or what it belongs to is gone.
    fn is_void(&self, event: Event) -> bool {
        match event {
            Event::Fault | Event::Report => !self.is_faulty,
            Event::Notice(end, connection) => !self.ends[end.0].is_on(connection),
            Event::GoOn(server) => !self.servers[server].is_paused,
            Event::Mended(edge) => !self.is_cut[edge] || self.is_edge_away[edge],
            Event::Start(server) => self.servers[server].replica.is_some() || self.is_gone(server),
            Event::Disk(server, run) => {
                let here = &self.servers[server];
                here.run != run || here.replica.is_none()
            }
            _ => false,
        }
    }

    fn server_of(&self, event: Event) -> Option<usize> {
        match event {
            Event::Report | Event::Fault | Event::Mended(_) | Event::GoOn(_) | Event::Start(_) => {
                None
            }
            Event::Dial(end) | Event::Write(end, _) | Event::Notice(end, _) => {
                Some(self.ends[end.0].server)
            }
            Event::Deliver(end, _) => Some(self.ends[end.peer().0].server),
            Event::Tick(server) | Event::Disk(server, _) => Some(server),
        }
    }

    fn tick(&mut self, server: usize) -> Result<(), Violation> {
        let is_due = |at_ns: u64| at_ns <= self.now_ns;
        if !self.servers[server].tick_at_ns.is_some_and(is_due) {
            return Ok(());
        }
        self.servers[server].tick_at_ns = None;
        let mut effects = Vec::new();
        let wall_ns = self.servers[server].wall_ns(self.now_ns);
        if let Some(replica) = &mut self.servers[server].replica {
            replica.tick(self.now_ns, wall_ns, &mut effects);
        }
        self.settle(server, &effects)
    }

    /// Does what a replica asked for, and looks at what became of it.
    pub(crate) fn settle(&mut self, server: usize, effects: &[Effect]) -> Result<(), Violation> {
        self.perform(server, effects)?;
        self.plan_tick(server);
        let here = &self.servers[server];
        here.replica.as_ref().map_or(Ok(()), |replica| {
            self.checker.observe_links(server, replica, here.ends.len())
        })
    }

    pub(crate) fn plan_tick(&mut self, server: usize) {
        let here = &mut self.servers[server];
        let wanted_ns = here.replica.as_ref().and_then(Replica::next_tick_at_ns);
        let at_ns = wanted_ns.map(|wanted_ns| wanted_ns.max(self.now_ns));
        if let Some(at_ns) = at_ns
            && here.tick_at_ns.is_none_or(|planned_ns| planned_ns > at_ns)
        {
            here.tick_at_ns = Some(at_ns);
            self.agenda.put(at_ns, Event::Tick(server));
        }
    }

    pub(crate) fn tell(&mut self, line: impl FnOnce(&Self) -> String) {
        let mut trace = std::mem::take(&mut self.trace);
        trace.tell(self.now_ns, || line(self));
        self.trace = trace;
    }
}

fn replicas<'a>(of: &'a [Server], servers: &[usize]) -> Vec<(usize, &'a Replica)> {
    let replica = |server: &usize| Some((*server, of[*server].replica.as_ref()?));
    servers.iter().filter_map(replica).collect()
}

pub(crate) fn client_name(client: usize) -> String {
    format!("c{client}")
}

pub(crate) fn article_name(article: usize) -> String {
    format!("a{article}")
}
