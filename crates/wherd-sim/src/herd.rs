//! A simulated herd, and the three parts of its run.

use crate::agenda::{Agenda, Connection, Event};
use crate::checker::{Checker, Invariant, Told, Violation, broken};
use crate::network::{End, EndIndex};
use crate::random::Random;
use crate::scenario::{MS, Scenario};
use crate::server::{Server, WALL_START_NS};
use crate::trace::Trace;
use wherd_core::{Effect, LinkIndex, Policy, Replica, replica};
use wherd_proto::{AtTexts, Report, Request};

/// How long after the last fault all servers agree and are silent.
const AGREE_WITHIN_NS: u64 = 5000 * MS;
/// Some times more than any run has whose herd falls silent.
const MOST_EVENTS: u64 = 20_000;
/// How many clients report in the quiet herd.
const PROBES: usize = 3;

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
    /// How long after the last fault the herd was silent.
    pub silent_after_ns: u64,
    /// What single updates cost in the quiet herd.
    pub probes: Vec<Probe>,
}

/// One update in a quiet herd.
#[derive(Clone, Debug)]
pub struct Probe {
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
        silent_after_ns: herd.silent_after_ns,
        probes: herd.probes,
    }
}

/// All of a simulation's state.
pub(crate) struct Herd<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) random: Random,
    pub(crate) now_ns: u64,
    pub(crate) agenda: Agenda,
    pub(crate) servers: Vec<Server>,
    pub(crate) ends: Vec<End>,
    /// Until when each edge carries nothing.
    pub(crate) cut_until_ns: Vec<u64>,
    pub(crate) connection_count: Connection,
    pub(crate) is_faulty: bool,
    pub(crate) checker: Checker,
    pub(crate) trace: Trace,
    /// Entries that all replicas have sent.
    pub(crate) sent_count: u64,
    report_count: u32,
    /// Of all reports one by one, so that no two have the same text.
    text_count: u32,
    event_count: u64,
    silent_after_ns: u64,
    probes: Vec<Probe>,
}

impl<'a> Herd<'a> {
    fn new(scenario: &'a Scenario, trace: Trace) -> Self {
        let topology = &scenario.topology;
        let mut random = Random::new(scenario.seed);
        let mut ends_of = vec![Vec::new(); topology.names().len()];
        let mut ends = Vec::new();
        for server in topology.edges().iter().flat_map(|(a, b)| [*a, *b]) {
            let link = LinkIndex(ends_of[server].len());
            ends_of[server].push(EndIndex(ends.len()));
            ends.push(End::new(server, link));
        }
        let named = topology.names().iter().cloned().zip(ends_of);
        let servers: Vec<_> = named
            .map(|(name, ends)| Server::new(name, ends, scenario, &mut random))
            .collect();
        let clients = (0..scenario.load.client_count).map(client_name).collect();
        Self {
            checker: Checker::new(clients, servers.len()),
            scenario,
            random,
            now_ns: 0,
            agenda: Agenda::default(),
            servers,
            ends,
            cut_until_ns: vec![0; topology.edges().len()],
            connection_count: 0,
            is_faulty: true,
            trace,
            sent_count: 0,
            report_count: 0,
            text_count: 0,
            event_count: 0,
            silent_after_ns: 0,
            probes: Vec::new(),
        }
    }

    fn play(&mut self) -> Result<(), Violation> {
        (0..self.servers.len()).for_each(|server| self.start(server));
        self.agenda.put(self.now_ns, Event::Report);
        self.agenda.put(self.now_ns, Event::Fault);
        while self.report_count < self.scenario.load.report_count {
            self.step()?;
        }
        self.heal();
        let healed_at_ns = self.now_ns;
        self.run_until_silent()?;
        self.silent_after_ns = self.now_ns - healed_at_ns;
        self.agree()?;
        self.probe()
    }

    /// Once more for some clients, one by one and with true times, when no clock can block them
    /// any more.
    fn probe(&mut self) -> Result<(), Violation> {
        let most_skew_ns = 2 * self.scenario.network.clock_skew_ns;
        self.now_ns += self.scenario.settings.max_ahead_ns.unsigned_abs() + most_skew_ns;
        for client in 0..PROBES.min(self.scenario.load.client_count) {
            // After the reports of a batch that came at the same time.
            self.now_ns += 1;
            let (server, sent_before) = (self.random.below(self.servers.len()), self.sent_count);
            let reported_at_ns = self.now_ns;
            let line = self.line(client, WALL_START_NS + self.now_ns as i64);
            if self.report(server, &[line])? != [replica::Outcome::Accepted] {
                return broken(Invariant::BlockedByClock, || client_name(client));
            }
            self.run_until_silent()?;
            self.agree()?;
            let sent_count = self.sent_count - sent_before;
            let most = match self.scenario.settings.policy {
                Policy::Flood => self.scenario.topology.flood_sends(),
            };
            if sent_count > most {
                return broken(Invariant::Sends, || format!("{sent_count}, over {most}"));
            }
            let held_since_ns = self.checker.held_since_ns(&client_name(client));
            self.probes.push(Probe {
                server,
                sent_count,
                arrived_after_ns: held_since_ns
                    .iter()
                    .map(|at_ns| at_ns - reported_at_ns)
                    .collect(),
            });
        }
        Ok(())
    }

    fn run_until_silent(&mut self) -> Result<(), Violation> {
        let deadline_ns = self.now_ns + AGREE_WITHIN_NS;
        while let Some((at_ns, event)) = self.agenda.next() {
            if self.is_void(event) {
                self.agenda.take();
                continue;
            }
            if at_ns > deadline_ns {
                return broken(Invariant::Silence, || {
                    format!("{event:?} is to come at {:.6} s", at_ns as f64 / 1e9)
                });
            }
            self.step()?;
        }
        Ok(())
    }

    fn agree(&self) -> Result<(), Violation> {
        let replicas: Vec<&Replica> = self.servers.iter().flat_map(|s| &s.replica).collect();
        self.checker.agree(&replicas)
    }

    /// The next event, or its delay where it concerns a server that stands still.
    fn step(&mut self) -> Result<(), Violation> {
        let Some((at_ns, event)) = self.agenda.take() else {
            return broken(Invariant::Silence, || "the load has stopped".into());
        };
        self.event_count += 1;
        if self.event_count > MOST_EVENTS {
            return broken(Invariant::Silence, || format!("{MOST_EVENTS} events"));
        }
        self.now_ns = at_ns;
        let paused_until_ns = self
            .server_of(event)
            .map_or(0, |server| self.servers[server].paused_until_ns);
        if paused_until_ns > self.now_ns {
            self.agenda.put(paused_until_ns, event);
            return Ok(());
        }
        self.trace.mix(&(at_ns, event));
        match event {
            Event::Report => self.report_some(),
            Event::Fault => {
                self.strike();
                Ok(())
            }
            Event::Dial(end) => {
                self.dial(end);
                Ok(())
            }
            Event::Write(end, connection) => self.write(end, connection),
            Event::Deliver(end, connection) => self.deliver(end, connection),
            Event::Notice(end, connection) => {
                self.notice(end, connection);
                Ok(())
            }
            Event::Tick(server) => self.tick(server),
            Event::Start(server) => {
                self.start(server);
                Ok(())
            }
        }
    }

    /// Whether nothing will come of an event: faults stopped, or its connection is gone.
    fn is_void(&self, event: Event) -> bool {
        match event {
            Event::Fault => !self.is_faulty,
            Event::Notice(end, connection) => !self.ends[end.0].is_on(connection),
            _ => false,
        }
    }

    fn server_of(&self, event: Event) -> Option<usize> {
        match event {
            Event::Report | Event::Fault | Event::Start(_) => None,
            Event::Dial(end) | Event::Write(end, _) | Event::Notice(end, _) => {
                Some(self.ends[end.0].server)
            }
            Event::Deliver(end, _) => Some(self.ends[end.peer().0].server),
            Event::Tick(server) => Some(server),
        }
    }

    /// Some clients report to some server, if it is up.
    fn report_some(&mut self) -> Result<(), Violation> {
        let load = &self.scenario.load;
        if self.report_count >= load.report_count {
            return Ok(());
        }
        self.report_count += 1;
        let gap_ns = self.random.within(&load.gap_ns);
        self.agenda.put(self.now_ns + gap_ns, Event::Report);
        let server = self.random.below(self.servers.len());
        if !self.servers[server].is_serving(self.now_ns) {
            return Ok(());
        }
        let batch = 1 + self.random.below(load.max_batch);
        let lines: Vec<_> = (0..batch).map(|_| self.random_line()).collect();
        self.report(server, &lines).map(drop)
    }

    /// A client's line, its time one of few: ties must happen.
    fn random_line(&mut self) -> String {
        let load = &self.scenario.load;
        let client = self.random.below(load.client_count);
        let unit_ns = load.clock_unit_ns as i64;
        let wall_ns = WALL_START_NS + self.now_ns as i64;
        let mut reported_at_ns = (wall_ns / unit_ns - self.random.below(3) as i64) * unit_ns;
        if self.random.chance(load.far_ahead_per_mille) {
            reported_at_ns += 300_000_000 * 1000 * MS as i64;
        }
        self.line(client, reported_at_ns)
    }

    fn line(&mut self, client: usize, reported_at_ns: i64) -> String {
        self.text_count += 1;
        let (degrees, second_ns) = (self.text_count, 1000 * MS as i64);
        let (seconds, ns) = (reported_at_ns / second_ns, reported_at_ns % second_ns);
        let client = client_name(client);
        format!("IAMAT {client} +0.{degrees:06}-118.445127 {seconds}.{ns:09}")
    }

    /// A server reads lines of clients, as it would from a socket.
    fn report(
        &mut self,
        server: usize,
        lines: &[String],
    ) -> Result<Vec<replica::Outcome>, Violation> {
        let received_at_ns = self.servers[server].wall_ns(self.now_ns);
        let reports: Vec<_> = lines.iter().map(|line| parse(line)).collect();
        let mut texts = AtTexts::default();
        texts.write(&reports, received_at_ns);
        let (mut outcomes, mut effects) = (Vec::new(), Vec::new());
        let Some(replica) = &mut self.servers[server].replica else {
            return Ok(outcomes);
        };
        replica.report(
            reports.iter().zip(texts.iter()),
            received_at_ns,
            self.now_ns,
            &mut outcomes,
            &mut effects,
        );
        let me = self.servers[server].origin();
        let latest_ns = received_at_ns + self.scenario.settings.max_ahead_ns;
        for ((report, at), outcome) in reports.iter().zip(texts.iter()).zip(&outcomes) {
            let text = at.as_bytes();
            self.tell(|_| format!("{me} hears {}: {outcome:?}", String::from_utf8_lossy(text)));
            let told = Told {
                client: std::str::from_utf8(report.client).expect("a client's name"),
                text,
                ordered_at_ns: report.reported_at.saturating_ns().min(latest_ns),
                now_ns: self.now_ns,
            };
            let is_accepted = *outcome == replica::Outcome::Accepted;
            self.checker.reported(server, &me, &told, is_accepted)?;
        }
        self.settle(server, &effects)?;
        Ok(outcomes)
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
        self.perform(server, effects);
        let here = &mut self.servers[server];
        let Some(replica) = &here.replica else {
            return Ok(());
        };
        if let Some(wanted_ns) = replica.next_tick_at_ns() {
            let at_ns = wanted_ns.max(self.now_ns);
            if here.tick_at_ns.is_none_or(|planned_ns| planned_ns > at_ns) {
                here.tick_at_ns = Some(at_ns);
                self.agenda.put(at_ns, Event::Tick(server));
            }
        }
        self.checker
            .observe(server, replica, here.ends.len(), self.now_ns)
    }

    pub(crate) fn tell(&mut self, line: impl FnOnce(&Self) -> String) {
        let mut trace = std::mem::take(&mut self.trace);
        trace.tell(self.now_ns, || line(self));
        self.trace = trace;
    }
}

fn client_name(client: usize) -> String {
    format!("c{client}")
}

fn parse(line: &str) -> Report<'_> {
    let Ok(Request::IAmAt(report)) = Request::parse(line.as_bytes()) else {
        panic!("no report: {line}")
    };
    report
}
