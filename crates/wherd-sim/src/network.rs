//! Connections between servers, as they come, carry frames, and go.
//!
//! An edge has two ends. An end dials, and sends its HELLO on a connection with a fresh number; the
//! other end takes it up, in place of any connection that it has not noticed to be dead, and
//! sends its own. Each end's link is up from the moment at which it has the other's HELLO until
//! it notices that the connection is dead, closes it itself, or takes up another.
//!
//! Each direction is an ordered stream with a rate and random delays. A frame is written when the
//! stream can take it, and what the replica has to say until then waits in the replica.

use crate::agenda::{Connection, Event};
use crate::checker::{Invariant, Violation, broken};
use crate::fault::Fault;
use crate::herd::Herd;
use std::collections::VecDeque;
use wherd_core::{Effect, LinkFault, LinkIndex, Replica};
use wherd_proto::frame::{self, Counts, Frame, Hello, Lane, PROTOCOL_VERSION};

/// No frame of a simulation comes near this.
const FRAME_LIMIT: usize = 1 << 20;

/// Of all counters, about so many are in frames to which something may happen.
const LASTING_COUNTS: usize = 2;

/// One end of an edge. The two ends of edge `n` are `2n` and `2n + 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EndIndex(pub(crate) usize);

impl EndIndex {
    pub(crate) const fn peer(self) -> Self {
        Self(self.0 ^ 1)
    }

    pub(crate) const fn edge(self) -> usize {
        self.0 / 2
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Down,
    /// Our HELLO is sent and none has come.
    Greeting,
    Up,
}

pub(crate) struct End {
    pub(crate) server: usize,
    pub(crate) link: LinkIndex,
    pub(crate) state: State,
    /// The connection that it is on, or was on last.
    pub(crate) connection: Connection,
    pub(crate) pipe: Pipe,
}

impl End {
    pub(crate) fn new(server: usize, link: LinkIndex) -> Self {
        Self {
            server,
            link,
            state: State::Down,
            connection: 0,
            pipe: Pipe::default(),
        }
    }

    /// Whether it is on this connection, and has not noticed that it is dead.
    pub(crate) fn is_on(&self, connection: Connection) -> bool {
        self.state != State::Down && self.connection == connection
    }

    fn is_up_on(&self, connection: Connection) -> bool {
        self.state == State::Up && self.connection == connection
    }
}

/// What an end sends on one connection.
#[derive(Default)]
pub(crate) struct Pipe {
    pub(crate) connection: Connection,
    pub(crate) in_flight: VecDeque<Packet>,
    /// When the stream can take more.
    free_at_ns: u64,
    /// When the last frame in flight arrives: none arrives before it.
    arrives_at_ns: u64,
    /// A [`Event::Write`] is on the agenda.
    is_writing: bool,
    /// Carries nothing any more.
    pub(crate) is_dead: bool,
    /// Something on it was lost, changed or moved: the other end may rightly find a fault.
    pub(crate) is_damaged: bool,
}

pub(crate) struct Packet {
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_hello: bool,
}

impl Herd<'_> {
    /// An end without a connection tries to get one.
    pub(crate) fn dial(&mut self, end: EndIndex) {
        let here = &self.ends[end.0];
        let there = self.ends[end.peer().0].server;
        // Who cannot be reached dials when it can be, or its edge is mended.
        let is_possible = here.state == State::Down
            && self.servers[here.server].is_linking
            && self.servers[there].is_linking
            && !self.is_cut[end.edge()];
        if !is_possible {
            return;
        }
        // Even or odd as the end that dials.
        self.connection_count += 2;
        self.open(end, self.connection_count + end.0 as u64 % 2);
    }

    pub(crate) fn redial(&mut self, end: EndIndex) {
        let wait_ns = self.random.within(&self.scenario.network.redial_ns);
        self.agenda.put(self.now_ns + wait_ns, Event::Dial(end));
    }

    /// Begins a connection at one end: what belonged to the last one is gone.
    fn open(&mut self, end: EndIndex, connection: Connection) {
        let now_ns = self.now_ns;
        let here = &mut self.ends[end.0];
        here.connection = connection;
        here.state = State::Greeting;
        here.pipe = Pipe {
            connection,
            free_at_ns: now_ns,
            ..Pipe::default()
        };
        let (server, to) = (here.server, self.ends[end.peer().0].server);
        let Some(replica) = &self.servers[server].replica else {
            return;
        };
        let hello = Hello {
            version: PROTOCOL_VERSION,
            herd: "sim".into(),
            origin: replica.me().clone(),
            to: self.servers[to].name.clone(),
            reflected: replica.reflected(),
            wants_kept: self.wants_kept,
            counters_reflected: replica.reflected_of(Lane::Counters),
        };
        self.tell(|herd| {
            format!(
                "{} sends HELLO {:?} and {:?}",
                herd.end_name(end),
                hello.reflected,
                hello.counters_reflected
            )
        });
        let mut bytes = Vec::new();
        frame::write_hello(&mut bytes, &hello);
        let is_hello = true;
        self.send(end, Packet { bytes, is_hello });
    }

    /// The other end's HELLO came.
    fn greeted(
        &mut self,
        end: EndIndex,
        connection: Connection,
        hello: &Hello,
    ) -> Result<(), Violation> {
        let here = &self.ends[end.0];
        let is_answer = here.connection == connection && here.state == State::Greeting;
        let is_later = connection > here.connection
            || (here.state == State::Down && connection < here.connection);
        // The answer to one that this end has given up since, or that an earlier run of its server
        // had, goes nowhere.
        let is_new = is_later && connection % 2 == end.peer().0 as u64 % 2;
        if !is_answer && !is_new {
            return Ok(());
        }
        if is_new {
            self.take_down(end);
            self.open(end, connection);
            if !self.ends[end.peer().0].is_on(connection) {
                // It has gone away since it greeted: a reset comes back.
                self.notice_later(end);
            }
        }
        self.ends[end.0].state = State::Up;
        self.tell(|herd| format!("{} is up", herd.end_name(end)));
        let (server, link, now_ns) = (self.ends[end.0].server, self.ends[end.0].link, self.now_ns);
        let mut effects = Vec::new();
        if let Some(replica) = &mut self.servers[server].replica {
            match replica.link_up(link, hello, now_ns, &mut effects) {
                Ok(()) => {}
                Err(LinkFault::NewerRun { incarnation }) => {
                    self.fence(server, incarnation);
                    return Ok(());
                }
                Err(fault) => {
                    return broken(Invariant::NeedlessFault, || format!("HELLO: {fault}"));
                }
            }
            if hello.wants_kept {
                replica.tell_kept(link, &hello.origin, &mut effects);
            }
            let delay_ns = &self.scenario.network.delay_ns;
            let round_trip_ns = delay_ns.start + delay_ns.end;
            replica.link_measured(link, &hello.origin, round_trip_ns, now_ns, &mut effects);
            self.checker.greeted(server, link, hello);
        }
        if self.strikes(Fault::CrashAfterLinkUp) {
            self.crash(server);
            return Ok(());
        }
        self.settle(server, &effects)
    }

    /// Closes an end's connection, for whatever reason, and gets it another.
    pub(crate) fn close(&mut self, end: EndIndex, why: &str) {
        self.tell(|herd| format!("{} closes: {why}", herd.end_name(end)));
        let connection = self.ends[end.0].connection;
        self.take_down(end);
        // What was sent before a connection is closed may arrive or not.
        if self.random.chance(500) {
            self.ends[end.0].pipe.in_flight.clear();
        }
        if self.ends[end.peer().0].is_on(connection) {
            self.notice_later(end.peer());
        }
        self.redial(end);
    }

    fn take_down(&mut self, end: EndIndex) {
        let here = &mut self.ends[end.0];
        let was_up = std::mem::replace(&mut here.state, State::Down) == State::Up;
        if was_up && let Some(replica) = &mut self.servers[here.server].replica {
            replica.link_down(here.link);
            self.checker.link_down(here.server, here.link);
            let server = here.server;
            self.plan_tick(server);
        }
    }

    /// Lets an end notice, some time, that its connection is dead: at once by a reset, mostly, or
    /// by hearing nothing.
    pub(crate) fn notice_later(&mut self, end: EndIndex) {
        let silent_ns = self.scenario.network.dead_after_ns;
        let reset_ns = self.random.within(&self.scenario.network.delay_ns);
        let wait_ns = if self.random.chance(200) {
            silent_ns
        } else {
            reset_ns
        };
        let event = Event::Notice(end, self.ends[end.0].connection);
        self.agenda.put(self.now_ns + wait_ns, event);
    }

    pub(crate) fn notice(&mut self, end: EndIndex, connection: Connection) {
        if self.ends[end.0].is_on(connection) {
            self.close(end, "the connection is dead");
        }
    }

    /// Performs what a replica asks for.
    pub(crate) fn perform(&mut self, server: usize, effects: &[Effect]) -> Result<(), Violation> {
        for effect in effects {
            let link = match effect {
                Effect::LinkReady(link) => link,
                Effect::JournalReady => {
                    self.journal_ready(server)?;
                    continue;
                }
                Effect::Kept => {
                    self.acknowledge(server)?;
                    continue;
                }
                Effect::Traced(_) => continue,
            };
            let end = self.servers[server].ends[link.0];
            let pipe = &mut self.ends[end.0].pipe;
            if !std::mem::replace(&mut pipe.is_writing, true) {
                let at_ns = pipe.free_at_ns.max(self.now_ns);
                self.agenda.put(at_ns, Event::Write(end, pipe.connection));
            }
        }
        Ok(())
    }

    /// The stream can take more: what the replica gives is on its way.
    pub(crate) fn write_link(
        &mut self,
        end: EndIndex,
        connection: Connection,
    ) -> Result<(), Violation> {
        if !self.ends[end.0].is_up_on(connection) {
            return Ok(());
        }
        let (server, link) = (self.ends[end.0].server, self.ends[end.0].link);
        let Some(replica) = &mut self.servers[server].replica else {
            return Ok(());
        };
        let (mut bytes, mut effects) = (Vec::new(), Vec::new());
        let most_bytes = self.scenario.network.write_bytes;
        let has_more = replica.drain(link, &mut bytes, most_bytes, &mut effects);
        let is_crashing = self.send_all(end, &bytes)?;
        let pipe = &mut self.ends[end.0].pipe;
        pipe.is_writing = has_more;
        if has_more {
            // A stream that is never full would have a replica write for ever in one moment.
            let at_ns = pipe.free_at_ns.max(self.now_ns + 1);
            self.agenda.put(at_ns, Event::Write(end, connection));
        }
        if is_crashing {
            self.crash(server);
            return Ok(());
        }
        self.settle(server, &effects)
    }

    /// Sends frames, with what goes wrong on the way; whether the sender crashes behind them.
    fn send_all(&mut self, end: EndIndex, mut bytes: &[u8]) -> Result<bool, Violation> {
        let (mut is_crashing, mut sent_of) = (false, None);
        let replica = &self.servers[self.ends[end.0].server].replica;
        let counters_count = replica.as_ref().map_or(0, Replica::counters_count);
        while !bytes.is_empty() {
            let (frame, length) = match frame::decode(bytes, FRAME_LIMIT) {
                Ok(Some(frame)) => frame,
                other => panic!("a replica wrote what is no frame: {other:?}"),
            };
            self.tell(|herd| format!("{} sends {}", herd.end_name(end), show(&frame)));
            if !matches!(frame, Frame::Digest { .. }) {
                self.last_talk_ns = self.now_ns;
            }
            self.checker.sent(&frame)?;
            if let Some((lane, entries_count)) = entries_in(&frame) {
                self.sent_counts[lane as usize] += entries_count as u64;
                sent_of = Some(lane);
                is_crashing |= self.strikes(Fault::CrashAfterUpdates);
            }
            if let Frame::Commit { lane, .. } = frame
                && sent_of == Some(lane)
                && self.strikes(Fault::CutBeforeCommit)
            {
                self.kill(end);
            }
            let packet = Packet {
                bytes: bytes[..length].to_vec(),
                is_hello: false,
            };
            let is_spared = match frame {
                // What closes a link has all servers told of it. Were each of these frames as
                // likely to close one as others are, that would go on by itself.
                Frame::Links(_) => self.random.chance(900),
                // There are counters of many runs, one in a frame where writes are small, and no
                // link would last until all of them have come.
                Frame::Counts(_) => self.votes.below(1 + counters_count / LASTING_COUNTS) > 0,
                _ => false,
            };
            if is_spared {
                self.send(end, packet);
            } else {
                self.send_badly(end, packet);
            }
            bytes = &bytes[length..];
        }
        Ok(is_crashing)
    }

    /// Puts a frame on its way.
    pub(crate) fn send(&mut self, end: EndIndex, packet: Packet) {
        let delay_ns = self.random.within(&self.scenario.network.delay_ns);
        let now_ns = self.now_ns;
        let pipe = &mut self.ends[end.0].pipe;
        let write_ns =
            packet.bytes.len() as u64 * 1_000_000_000 / self.scenario.network.bytes_per_s;
        pipe.free_at_ns = pipe.free_at_ns.max(now_ns) + write_ns;
        if pipe.is_dead {
            return;
        }
        pipe.arrives_at_ns = pipe.arrives_at_ns.max(pipe.free_at_ns + delay_ns);
        pipe.in_flight.push_back(packet);
        let event = Event::Deliver(end, pipe.connection);
        self.agenda.put(pipe.arrives_at_ns, event);
    }

    /// The next frame arrives at the other end.
    pub(crate) fn deliver(
        &mut self,
        from: EndIndex,
        connection: Connection,
    ) -> Result<(), Violation> {
        let pipe = &mut self.ends[from.0].pipe;
        if pipe.connection != connection {
            return Ok(());
        }
        let Some(packet) = pipe.in_flight.pop_front() else {
            return Ok(());
        };
        self.trace.mix(&packet.bytes);
        let end = from.peer();
        if !self.servers[self.ends[end.0].server].is_linking {
            return Ok(());
        }
        let frame = frame::decode(&packet.bytes, FRAME_LIMIT);
        match frame {
            Ok(Some((Frame::Hello(hello), _))) if packet.is_hello => {
                self.greeted(end, connection, &hello)
            }
            _ if !self.ends[end.0].is_up_on(connection) => Ok(()),
            Ok(Some((frame, _))) => self.receive(end, &frame),
            Ok(None) => {
                // What follows is taken for the rest of a frame that never becomes whole.
                self.ends[from.0].pipe.in_flight.clear();
                self.kill(from);
                Ok(())
            }
            Err(error) => self.find_fault(end, &error.to_string()),
        }
    }

    fn receive(&mut self, end: EndIndex, frame: &Frame<'_>) -> Result<(), Violation> {
        let (server, link) = (self.ends[end.0].server, self.ends[end.0].link);
        self.tell(|herd| format!("{} receives {}", herd.end_name(end), show(frame)));
        let Some(replica) = &mut self.servers[server].replica else {
            return Ok(());
        };
        let mut effects = Vec::new();
        match replica.receive(link, frame, self.now_ns, &mut effects) {
            Ok(()) => {
                let now_ns = self.now_ns;
                self.checker.received(server, replica, frame, now_ns)?;
                self.settle(server, &effects)
            }
            Err(LinkFault::NewerRun { incarnation }) => {
                self.fence(server, incarnation);
                Ok(())
            }
            Err(fault) => self.find_fault(end, &fault.to_string()),
        }
    }

    fn find_fault(&mut self, end: EndIndex, fault: &str) -> Result<(), Violation> {
        if !self.ends[end.peer().0].pipe.is_damaged {
            return broken(Invariant::NeedlessFault, || {
                format!("{} closes for {fault}", self.end_name(end))
            });
        }
        self.close(end, fault);
        Ok(())
    }

    pub(crate) fn end_name(&self, end: EndIndex) -> String {
        let name = |end: EndIndex| &self.servers[self.ends[end.0].server].name;
        let connection = self.ends[end.0].connection;
        format!("{} [{connection}, to {}]", name(end), name(end.peer()))
    }
}

/// How many entries a frame has, and of which lane; `None` where it is of another kind.
const fn entries_in(frame: &Frame<'_>) -> Option<(Lane, usize)> {
    match frame {
        Frame::Updates(updates) => Some((Lane::Positions, updates.entries.len())),
        Frame::Counts(counts) => Some((Lane::Counters, counts.entries.len())),
        _ => None,
    }
}

fn show(frame: &Frame<'_>) -> String {
    if let Frame::Counts(counts) = frame {
        return show_counts(counts);
    }
    let Frame::Updates(updates) = frame else {
        return format!("{frame:?}");
    };
    let mut shown = format!("UPDATES {}", updates.number);
    for (origin, update) in &updates.entries {
        let text = String::from_utf8_lossy(update.at.as_bytes());
        shown += &format!(", {}:{} {text}", updates.origins[*origin], update.sequence);
    }
    shown
}

fn show_counts(counts: &Counts<'_>) -> String {
    let mut shown = format!("COUNTS {}", counts.number);
    for (origin, count) in &counts.entries {
        let (origin, article) = (
            &counts.origins[*origin],
            String::from_utf8_lossy(count.article),
        );
        let (sequence, likes, unlikes) = (count.sequence, count.likes, count.unlikes);
        shown += &format!(", {origin}:{sequence} {article} +{likes} -{unlikes}");
    }
    shown
}
