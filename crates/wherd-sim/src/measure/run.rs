//! One run of a herd, event by event.

use super::delivery::Delivery;
use super::journey::Journey;
use super::link::{Connection, Edge, End, EndIndex};
use super::load::Voters;
use super::load::{Clients, WALL_START_NS};
use super::{Broken, SECOND, Setup, WARM_UP_NS, WRITE_BYTES};
use crate::agenda::Agenda;
use crate::random::Random;
use wherd_core::{Effect, JournalFile, LinkIndex, Replica, Settings};
use wherd_proto::frame::{self, Frame};
use wherd_proto::{Origin, ServerName};

/// No frame of a run comes near this.
pub(super) const FRAME_LIMIT: usize = 1 << 24;
/// Of an incarnation, below the time in milliseconds: which run it is.
const RUN_BITS: u32 = 20;
/// After everything has come, COMMITs and summaries are still on their way: they are part of what it
/// costs.
const LINGER_NS: u64 = SECOND;
/// How long after the last update and the last fault what has not come never will.
const PATIENCE_NS: u64 = 60 * SECOND;

/// Something that happens at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// Clients report to some server.
    Report,
    /// A fault strikes.
    Strike(usize),
    /// A fault is over.
    Mend(usize),
    /// Somebody tries to connect an edge, for the so manieth time.
    Dial(usize, u32),
    /// The connection stands, and the HELLO of who dialled is sent.
    Greet(EndIndex, Connection),
    /// The stream of an end can take more.
    Write(EndIndex, Connection),
    /// The next packet that this end sent arrives at the other.
    Deliver(EndIndex, Connection),
    /// An end is told that its connection is dead.
    Notice(EndIndex, Connection),
    /// An end has heard nothing for so long that its connection may be dead.
    HearNothing(EndIndex, Connection),
    /// A replica's own time has come.
    Tick(usize),
}

/// One server.
pub(super) struct Server {
    pub(super) name: ServerName,
    /// `None` while it is down.
    pub(super) replica: Option<Replica>,
    /// Which of all runs of all servers.
    pub(super) run: usize,
    /// Its ends, by [`LinkIndex`].
    pub(super) ends: Vec<EndIndex>,
    /// What it held when it was killed, as its journal has it.
    disk: Vec<u8>,
    tick_at_ns: Option<u64>,
}

/// What all links and replicas have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) sent: u64,
    pub(super) suppressed: u64,
    pub(super) superseded: u64,
    pub(super) counters_sent: u64,
    pub(super) counters_suppressed: u64,
    pub(super) counters_superseded: u64,
    pub(super) bytes: u64,
}

impl Totals {
    fn add(&mut self, replica: &Replica) {
        let (counts, counted) = (replica.counts(), replica.counter_counts());
        self.sent += counts.sent;
        self.suppressed += counts.suppressed;
        self.superseded += counts.superseded;
        self.counters_sent += counted.sent;
        self.counters_suppressed += counted.suppressed;
        self.counters_superseded += counted.superseded;
    }
}

/// One run.
pub(super) struct Run<'a> {
    pub(super) setup: &'a Setup,
    pub(super) random: Random,
    pub(super) agenda: Agenda<Event>,
    pub(super) now_ns: u64,
    pub(super) servers: Vec<Server>,
    pub(super) ends: Vec<End>,
    pub(super) edges: Vec<Edge>,
    pub(super) connection_count: Connection,
    pub(super) clients: Clients,
    pub(super) voters: Voters,
    pub(super) delivery: Delivery,
    /// Changes of faults that are still to come.
    changes_left: usize,
    last_change_ns: u64,
    /// When which edge's links went down or came up, since the load began.
    pub(super) link_changes: Vec<(usize, u64)>,
    /// What was done before the load began.
    pub(super) before: Totals,
    /// What was done by runs that have ended, and the bytes of all.
    pub(super) ended: Totals,
    pub(super) queue_high_water: usize,
    pub(super) needless_fault_count: u64,
    pub(super) event_count: u64,
    pub(super) journey: Option<Journey>,
    /// Memory that is used again and again.
    pub(super) effects: Vec<Effect>,
    pub(super) spare: Vec<Vec<u8>>,
}

impl<'a> Run<'a> {
    pub(super) fn new(setup: &'a Setup) -> Self {
        let (topology, load) = (&setup.topology, &setup.load);
        assert!(load.rate_per_s > 0 && load.batch_count > 0 && load.client_count > 0);
        assert!(setup.links.bytes_per_s > 0);
        let (ends, edges) = super::link::lay(setup);
        let servers = topology.names().iter().enumerate().map(|(index, name)| {
            let is_here = |end: &EndIndex| ends[end.0].server == index;
            Server {
                name: name.clone(),
                replica: None,
                run: 0,
                ends: (0..ends.len()).map(EndIndex).filter(is_here).collect(),
                disk: Vec::new(),
                tick_at_ns: None,
            }
        });
        let is_mended = |fault: &&super::Fault| fault.until_ns.is_some();
        let mut run = Self {
            setup,
            random: Random::new(setup.seed),
            agenda: Agenda::default(),
            now_ns: 0,
            servers: servers.collect(),
            ends,
            edges,
            connection_count: 0,
            clients: Clients::new(load.clone()),
            voters: Voters::new(load.votes, setup.seed),
            delivery: Delivery::new(topology.names().len(), load.client_count),
            changes_left: setup.faults.len() + setup.faults.iter().filter(is_mended).count(),
            last_change_ns: 0,
            link_changes: Vec::new(),
            before: Totals::default(),
            ended: Totals::default(),
            queue_high_water: 0,
            needless_fault_count: 0,
            event_count: 0,
            journey: None,
            effects: Vec::new(),
            spare: Vec::new(),
        };
        run.begin();
        run
    }

    fn begin(&mut self) {
        (0..self.servers.len()).for_each(|server| self.start(server));
        self.agenda.put(WARM_UP_NS, Event::Report);
        for (index, fault) in self.setup.faults.iter().enumerate() {
            let strike_ns = WARM_UP_NS + fault.at_ns;
            self.agenda.put(strike_ns, Event::Strike(index));
            if let Some(until_ns) = fault.until_ns {
                assert!(until_ns > fault.at_ns);
                self.agenda.put(WARM_UP_NS + until_ns, Event::Mend(index));
            }
        }
    }

    /// Plays until all has come, or will not.
    pub(super) fn play(&mut self) {
        let mut over_at_ns = None;
        while let Some((at_ns, event)) = self.agenda.take() {
            if over_at_ns.is_some_and(|over_at_ns| at_ns > over_at_ns) {
                break;
            }
            self.now_ns = at_ns;
            self.event_count += 1;
            self.happen(event);
            if over_at_ns.is_none() && self.is_load_over() {
                if self.delivery.is_done() {
                    over_at_ns = Some(at_ns + LINGER_NS);
                } else if at_ns > self.last_change_ns + PATIENCE_NS {
                    break;
                }
            }
        }
    }

    const fn is_load_over(&self) -> bool {
        self.delivery.updates.len() >= self.setup.load.update_count && self.changes_left == 0
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Report => self.report(),
            Event::Strike(fault) => self.strike(fault),
            Event::Mend(fault) => self.mend(fault),
            Event::Dial(edge, attempt) => self.dial(edge, attempt),
            Event::Greet(end, connection) => self.greet(end, connection),
            Event::Write(end, connection) => self.write_later(end, connection),
            Event::Deliver(end, connection) => self.deliver(end, connection),
            Event::Notice(end, connection) => self.notice(end, connection),
            Event::HearNothing(end, connection) => self.hear_nothing(end, connection),
            Event::Tick(server) => self.tick(server),
        }
    }

    /// A batch of reports comes to a random server.
    fn report(&mut self) {
        if self.delivery.updates.is_empty() {
            self.before = self.totals();
            self.last_change_ns = self.now_ns;
        }
        let left_count = self.setup.load.update_count - self.delivery.updates.len();
        if left_count == 0 {
            return;
        }
        let is_running = |server: &usize| self.servers[*server].replica.is_some();
        let running: Vec<_> = (0..self.servers.len()).filter(is_running).collect();
        if !running.is_empty() {
            let server = self.random.pick(&running);
            self.report_to(server, left_count);
        }
        self.last_change_ns = self.now_ns;
        // Where no server runs nor ever will, nobody reports.
        if !running.is_empty() || self.changes_left > 0 {
            let gap_ns = self.clients.gap_ns(&mut self.random);
            self.agenda.put(self.now_ns + gap_ns, Event::Report);
        }
    }

    fn report_to(&mut self, server: usize, most_count: usize) {
        let now_ns = self.now_ns;
        let Server { replica, run, .. } = &mut self.servers[server];
        let (run, Some(replica)) = (*run, replica) else {
            return;
        };
        let mut effects = std::mem::take(&mut self.effects);
        self.clients
            .report(replica, most_count, &mut self.random, now_ns, &mut effects);
        let report_count = self.clients.batch.len();
        self.voters
            .vote(replica, report_count, now_ns, &mut effects);
        for report in &self.clients.batch {
            if self.setup.journey_of == Some(self.delivery.updates.len()) {
                self.journey = Some(Journey {
                    update: self.delivery.updates.len(),
                    server,
                    accepted_at_ns: now_ns - WARM_UP_NS,
                    hops: Vec::new(),
                });
            }
            self.delivery.accept((server, run), *report, now_ns);
        }
        self.settle(server, effects);
    }

    fn strike(&mut self, fault: usize) {
        match self.setup.faults[fault].what {
            Broken::Server(server) => self.kill(server),
            Broken::Edge(edge) => self.cut(edge),
        }
        self.changed();
    }

    fn mend(&mut self, fault: usize) {
        match self.setup.faults[fault].what {
            Broken::Server(server) => self.start(server),
            Broken::Edge(edge) => self.splice(edge),
        }
        self.changed();
    }

    fn changed(&mut self) {
        self.changes_left -= 1;
        self.last_change_ns = self.now_ns;
        if self.changes_left == 0 {
            self.delivery.begin_healing(self.parts(), self.now_ns);
        }
    }

    /// For each server, which part of the herd it is in: those that run and reach each other.
    pub(super) fn parts(&self) -> Vec<usize> {
        let mut parts: Vec<usize> = (0..self.servers.len()).collect();
        let is_running = |server: usize| self.servers[server].replica.is_some();
        let mut is_changed = true;
        while std::mem::take(&mut is_changed) {
            for (edge, (a, b)) in self.setup.topology.edges().iter().enumerate() {
                let is_whole = !self.edges[edge].is_cut && is_running(*a) && is_running(*b);
                let part = parts[*a].min(parts[*b]);
                if is_whole && parts[*a] != parts[*b] {
                    (parts[*a], parts[*b], is_changed) = (part, part, true);
                }
            }
        }
        parts
    }

    /// A server begins a run with what its disk has.
    fn start(&mut self, server: usize) {
        let settings = Settings {
            policy: self.setup.policy,
            max_clients: self.setup.load.client_count,
            have_interval_ns: self.setup.links.have_interval_ns,
            counters_wait_ns: self.setup.links.counters_wait_ns,
            ..Settings::default()
        };
        let keys = (self.random.any(), self.random.any());
        let run = self.delivery.begin_run();
        let here = &mut self.servers[server];
        if here.replica.is_some() {
            return;
        }
        let not_begun = Origin {
            server: here.name.clone(),
            incarnation: 0,
        };
        let mut replica = Replica::new(&not_begun, here.ends.len(), settings, keys);
        let disk = std::mem::take(&mut here.disk);
        for_each_frame(&disk, |frame| {
            replica.replay(frame).expect("what was drained");
        });
        let wall_ms = (WALL_START_NS + self.now_ns) / 1_000_000;
        replica.begin_run(wall_ms << RUN_BITS | run as u64);
        (here.replica, here.run, here.tick_at_ns) = (Some(replica), run, None);
        self.delivery.start(server);
        for end in self.servers[server].ends.clone() {
            self.dial_at(end.edge(), self.now_ns, 0);
        }
        self.arm_tick(server);
    }

    /// A server is killed: its memory is gone, its disk is not.
    fn kill(&mut self, server: usize) {
        for end in self.servers[server].ends.clone() {
            self.abandon(end);
        }
        let here = &mut self.servers[server];
        let Some(mut replica) = here.replica.take() else {
            return;
        };
        self.ended.add(&replica);
        let (disk, effects) = (&mut here.disk, &mut self.effects);
        replica.begin_journal(effects);
        loop {
            let most_bytes = disk.len() + WRITE_BYTES;
            if !replica.drain_journal(JournalFile::Next, disk, most_bytes, effects) {
                break;
            }
        }
        effects.clear();
        self.delivery.kill(server);
    }

    fn tick(&mut self, server: usize) {
        let now_ns = self.now_ns;
        let here = &mut self.servers[server];
        if here.tick_at_ns != Some(now_ns) {
            return;
        }
        here.tick_at_ns = None;
        let Some(replica) = &mut here.replica else {
            return;
        };
        let mut effects = std::mem::take(&mut self.effects);
        replica.tick(now_ns, (WALL_START_NS + now_ns) as i64, &mut effects);
        self.settle(server, effects);
    }

    /// Performs what a replica asked for, and sees to its next tick.
    pub(super) fn settle(&mut self, server: usize, mut effects: Vec<Effect>) {
        let mut next = 0;
        // Performing one may add others.
        while let Some(effect) = effects.get(next).copied() {
            next += 1;
            if let Effect::LinkReady(LinkIndex(link)) = effect {
                let end = self.servers[server].ends[link];
                self.write_soon(end, &mut effects);
            }
        }
        effects.clear();
        self.effects = effects;
        self.arm_tick(server);
    }

    pub(super) fn arm_tick(&mut self, server: usize) {
        let here = &mut self.servers[server];
        let next = here.replica.as_ref().and_then(Replica::next_tick_at_ns);
        let Some(at_ns) = next.map(|at_ns| at_ns.max(self.now_ns)) else {
            return;
        };
        if here.tick_at_ns.is_none_or(|armed_ns| at_ns < armed_ns) {
            here.tick_at_ns = Some(at_ns);
            self.agenda.put(at_ns, Event::Tick(server));
        }
    }

    /// What was done so far.
    pub(super) fn totals(&self) -> Totals {
        let replicas = self.servers.iter().flat_map(|server| &server.replica);
        replicas.fold(self.ended, |mut totals, replica| {
            totals.add(replica);
            totals
        })
    }
}

/// Which run an origin is.
pub(super) const fn run_of(origin: &Origin) -> usize {
    (origin.incarnation & ((1 << RUN_BITS) - 1)) as usize
}

/// Calls `take` with each frame that a replica wrote.
pub(super) fn for_each_frame(mut bytes: &[u8], mut take: impl FnMut(&Frame<'_>)) {
    while !bytes.is_empty() {
        let Ok(Some((frame, length))) = frame::decode(bytes, FRAME_LIMIT) else {
            panic!("a replica wrote what is no frame");
        };
        take(&frame);
        bytes = &bytes[length..];
    }
}
