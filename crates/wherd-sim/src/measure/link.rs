//! Links: how they come up, carry packets, are cut, and are noticed to be dead.

use super::journey::Hop;
use super::run::{Event, FRAME_LIMIT, Run, run_of};
use super::{Setup, WARM_UP_NS, WRITE_BYTES};
use std::collections::VecDeque;
use wherd_core::{Effect, LinkIndex};
use wherd_proto::frame::{self, Frame, Hello, Lane, PROTOCOL_VERSION};

/// Which connection of an edge: what belongs to an earlier one means nothing to a later one. 0: none.
pub(super) type Connection = u64;

/// One end of an edge. The two ends of edge `n` are `2n` and `2n + 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EndIndex(pub(super) usize);

impl EndIndex {
    const fn peer(self) -> Self {
        Self(self.0 ^ 1)
    }

    pub(super) const fn edge(self) -> usize {
        self.0 / 2
    }
}

/// What one server has of an edge.
pub(super) struct End {
    pub(super) server: usize,
    pub(super) link: LinkIndex,
    /// What it is on, as far as it knows.
    connection: Connection,
    /// Whether it has the other's HELLO.
    is_up: bool,
    pipe: Pipe,
}

/// What an end sends on one connection.
#[derive(Default)]
struct Pipe {
    connection: Connection,
    in_flight: VecDeque<Packet>,
    /// Packets that would have arrived while the edge was cut.
    stalled_count: usize,
    /// When the stream can take more.
    free_at_ns: u64,
    /// When the last packet in flight arrives: none arrives before it.
    arrives_at_ns: u64,
    /// The replica has more to send.
    is_writing: bool,
    /// When it is asked for that.
    write_at_ns: u64,
}

/// The frames of one write.
struct Packet {
    bytes: Vec<u8>,
    sent_at_ns: u64,
    is_hello: bool,
}

/// What both ends have in common.
pub(super) struct Edge {
    delay_ns: u64,
    pub(super) is_cut: bool,
    cut_at_ns: u64,
    /// When somebody dials next.
    dial_at_ns: Option<u64>,
}

/// The ends and edges of a herd, none of them connected.
pub(super) fn lay(setup: &Setup) -> (Vec<End>, Vec<Edge>) {
    let mut link_counts = vec![0; setup.topology.names().len()];
    let mut end = |server: usize| {
        link_counts[server] += 1;
        End {
            server,
            link: LinkIndex(link_counts[server] - 1),
            connection: 0,
            is_up: false,
            pipe: Pipe::default(),
        }
    };
    let pairs = setup.topology.edges().iter();
    let ends = pairs.flat_map(|(a, b)| [end(*a), end(*b)]).collect();
    let edge = |index| {
        let own = setup.delays_ns.iter().rfind(|(edge, _)| *edge == index);
        Edge {
            delay_ns: own.map_or(setup.links.delay_ns, |(_, delay_ns)| *delay_ns),
            is_cut: false,
            cut_at_ns: 0,
            dial_at_ns: None,
        }
    };
    let edges = (0..setup.topology.edges().len()).map(edge).collect();
    (ends, edges)
}

impl Run<'_> {
    /// Somebody dials at this time, and not at another that was meant before.
    pub(super) fn dial_at(&mut self, edge: usize, at_ns: u64, attempt: u32) {
        self.edges[edge].dial_at_ns = Some(at_ns);
        self.agenda.put(at_ns, Event::Dial(edge, attempt));
    }

    pub(super) fn dial(&mut self, edge: usize, attempt: u32) {
        if self.edges[edge].dial_at_ns != Some(self.now_ns) {
            return;
        }
        self.edges[edge].dial_at_ns = None;
        let (a, b) = (EndIndex(2 * edge), EndIndex(2 * edge + 1));
        let is_running = |end: EndIndex| self.servers[self.ends[end.0].server].replica.is_some();
        if !is_running(a) && !is_running(b) {
            // Whoever starts first dials.
            return;
        }
        if self.edges[edge].is_cut || !is_running(a) || !is_running(b) {
            let links = &self.setup.links;
            let pause_ns = links.redial_min_ns << attempt.min(30);
            let pause_ns = pause_ns.min(links.redial_max_ns);
            let pause_ns = self.random.within(&(0..pause_ns)) + 1;
            self.dial_at(edge, self.now_ns + pause_ns, attempt + 1);
            return;
        }
        let (here, there) = (&self.ends[a.0], &self.ends[b.0]);
        if here.is_up && there.is_up && here.connection == there.connection {
            return;
        }
        let end = if here.is_up { b } else { a };
        self.take_down(end);
        self.connection_count += 1;
        let connection = self.connection_count;
        self.open(end, connection);
        let at_ns = self.now_ns + self.round_trip_ns(edge);
        self.agenda.put(at_ns, Event::Greet(end, connection));
    }

    /// What a PING and its PONG take on a quiet link, on average.
    fn round_trip_ns(&self, edge: usize) -> u64 {
        2 * self.edges[edge].delay_ns + self.setup.links.jitter_ns
    }

    fn open(&mut self, end: EndIndex, connection: Connection) {
        let end = &mut self.ends[end.0];
        end.connection = connection;
        end.pipe = Pipe {
            connection,
            ..Pipe::default()
        };
    }

    /// Who dialled says who it is.
    pub(super) fn greet(&mut self, end: EndIndex, connection: Connection) {
        let here = &self.ends[end.0];
        let Some(replica) = &self.servers[here.server].replica else {
            return;
        };
        if here.connection != connection {
            return;
        }
        let hello = Hello {
            version: PROTOCOL_VERSION,
            herd: "sim".into(),
            origin: replica.me().clone(),
            to: self.servers[self.ends[end.peer().0].server].name.clone(),
            reflected: replica.reflected(),
            wants_kept: false,
            counters_reflected: replica.reflected_of(Lane::Counters),
        };
        let mut bytes = Vec::new();
        frame::write_hello(&mut bytes, &hello);
        self.send(end, bytes, true);
    }

    /// The other's HELLO came.
    fn greeted(&mut self, end: EndIndex, connection: Connection, hello: &Hello) {
        if connection > self.ends[end.0].connection {
            self.take_down(end);
            self.open(end, connection);
            self.greet(end, connection);
        }
        let here = &mut self.ends[end.0];
        if here.connection == connection && !here.is_up {
            here.is_up = true;
            self.note_link_change(end);
            self.link_up(end, hello);
        }
    }

    /// Tells a replica that its link is up, and all that it is to know of it.
    fn link_up(&mut self, end: EndIndex, hello: &Hello) {
        let round_trip_ns = self.round_trip_ns(end.edge());
        let End { server, link, .. } = self.ends[end.0];
        let Some(replica) = &mut self.servers[server].replica else {
            return;
        };
        let mut effects = std::mem::take(&mut self.effects);
        match replica.link_up(link, hello, self.now_ns, &mut effects) {
            Ok(()) => {
                let (peer, now_ns) = (&hello.origin, self.now_ns);
                replica.link_measured(link, peer, round_trip_ns, now_ns, &mut effects);
                self.settle(server, effects);
            }
            Err(_) => self.close(end, effects),
        }
    }

    /// The replica has something to send: at once where the stream takes it.
    pub(super) fn write_soon(&mut self, end: EndIndex, effects: &mut Vec<Effect>) {
        let is_cut = self.edges[end.edge()].is_cut;
        let End { is_up, pipe, .. } = &mut self.ends[end.0];
        if !*is_up || std::mem::replace(&mut pipe.is_writing, true) || is_cut {
            return;
        }
        if pipe.free_at_ns <= self.now_ns {
            self.write(end, effects);
        } else {
            self.write_at(end, self.ends[end.0].pipe.free_at_ns);
        }
    }

    fn write_at(&mut self, end: EndIndex, at_ns: u64) {
        let pipe = &mut self.ends[end.0].pipe;
        pipe.write_at_ns = at_ns;
        self.agenda.put(at_ns, Event::Write(end, pipe.connection));
    }

    pub(super) fn write_later(&mut self, end: EndIndex, connection: Connection) {
        let End { is_up, pipe, .. } = &self.ends[end.0];
        let is_due = pipe.connection == connection && pipe.write_at_ns == self.now_ns;
        if *is_up && is_due && pipe.is_writing && !self.edges[end.edge()].is_cut {
            let server = self.ends[end.0].server;
            let mut effects = std::mem::take(&mut self.effects);
            self.write(end, &mut effects);
            self.settle(server, effects);
        }
    }

    fn write(&mut self, end: EndIndex, effects: &mut Vec<Effect>) {
        let End { server, link, .. } = self.ends[end.0];
        let Some(replica) = &mut self.servers[server].replica else {
            return;
        };
        if let Some((_, waiting_count)) = replica.link_counts(link) {
            self.queue_high_water = self.queue_high_water.max(waiting_count);
        }
        let mut bytes = self.spare.pop().unwrap_or_default();
        let has_more = replica.drain(link, &mut bytes, WRITE_BYTES, effects);
        self.send(end, bytes, false);
        let pipe = &mut self.ends[end.0].pipe;
        pipe.is_writing = has_more;
        if has_more {
            // A stream that is never full would have a replica write for ever in one moment.
            let at_ns = pipe.free_at_ns.max(self.now_ns + 1);
            self.write_at(end, at_ns);
        }
    }

    fn send(&mut self, end: EndIndex, bytes: Vec<u8>, is_hello: bool) {
        if bytes.is_empty() {
            self.spare.push(bytes);
            return;
        }
        let links = &self.setup.links;
        let jitter_ns = self.random.within(&(0..links.jitter_ns + 1));
        let delay_ns = self.edges[end.edge()].delay_ns + jitter_ns;
        let write_ns = bytes.len() as u64 * super::SECOND / links.bytes_per_s;
        self.ended.bytes += bytes.len() as u64;
        let pipe = &mut self.ends[end.0].pipe;
        let begun_ns = pipe.free_at_ns.max(self.now_ns);
        pipe.free_at_ns = begun_ns + write_ns.max(links.gather_ns);
        pipe.arrives_at_ns = pipe.arrives_at_ns.max(begun_ns + write_ns + delay_ns);
        pipe.in_flight.push_back(Packet {
            bytes,
            sent_at_ns: self.now_ns,
            is_hello,
        });
        let event = Event::Deliver(end, pipe.connection);
        self.agenda.put(pipe.arrives_at_ns, event);
    }

    /// The next packet arrives at the other end.
    pub(super) fn deliver(&mut self, from: EndIndex, connection: Connection) {
        let pipe = &mut self.ends[from.0].pipe;
        if pipe.connection != connection {
            return;
        }
        if self.edges[from.edge()].is_cut {
            pipe.stalled_count += 1;
            return;
        }
        let Some(mut packet) = pipe.in_flight.pop_front() else {
            return;
        };
        let (end, server) = (from.peer(), self.ends[from.peer().0].server);
        if self.servers[server].replica.is_some() {
            let is_on = self.ends[end.0].is_up && self.ends[end.0].connection == connection;
            if packet.is_hello {
                let hello = frame::decode(&packet.bytes, FRAME_LIMIT);
                if let Ok(Some((Frame::Hello(hello), _))) = hello {
                    self.greeted(end, connection, &hello);
                }
            } else if is_on {
                self.receive(end, &packet);
            }
        }
        packet.bytes.clear();
        self.spare.push(packet.bytes);
    }

    /// A replica takes the frames of a packet.
    fn receive(&mut self, end: EndIndex, packet: &Packet) {
        let End { server, link, .. } = self.ends[end.0];
        let peer = self.ends[end.peer().0].server;
        let mut effects = std::mem::take(&mut self.effects);
        let mut bytes = &packet.bytes[..];
        while !bytes.is_empty() {
            let Ok(Some((frame, length))) = frame::decode(bytes, FRAME_LIMIT) else {
                panic!("a replica wrote what is no frame");
            };
            let Some(replica) = &mut self.servers[server].replica else {
                return;
            };
            let taken = replica.receive(link, &frame, self.now_ns, &mut effects);
            if taken.is_err() {
                self.close(end, effects);
                return;
            }
            if let Frame::Updates(updates) = &frame {
                for (origin, update) in &updates.entries {
                    let number = (run_of(&updates.origins[*origin]), update.sequence);
                    let (id, is_news) = self.delivery.receive((server, peer), number, self.now_ns);
                    self.note_hop(id, (peer, server), packet.sent_at_ns, is_news);
                }
            }
            bytes = &bytes[length..];
        }
        self.settle(server, effects);
    }

    fn note_hop(&mut self, id: u32, (from, to): (usize, usize), sent_at_ns: u64, is_news: bool) {
        if let Some(journey) = &mut self.journey
            && journey.update == id as usize
        {
            let accepted_ns = WARM_UP_NS + journey.accepted_at_ns;
            journey.hops.push(Hop {
                from,
                to,
                sent_after_ns: sent_at_ns - accepted_ns,
                arrived_after_ns: self.now_ns - accepted_ns,
                is_news,
            });
        }
    }

    /// A replica wants a link closed, which here nothing gave it reason for.
    fn close(&mut self, end: EndIndex, mut effects: Vec<Effect>) {
        effects.clear();
        self.effects = effects;
        self.needless_fault_count += 1;
        let connection = self.ends[end.0].connection;
        let at_ns = self.now_ns + self.edges[end.edge()].delay_ns;
        self.agenda
            .put(at_ns, Event::Notice(end.peer(), connection));
        self.notice(end, connection);
    }

    /// An end has heard nothing for long.
    pub(super) fn hear_nothing(&mut self, end: EndIndex, connection: Connection) {
        let edge = &self.edges[end.edge()];
        // A cut that was mended in time is none that anybody noticed.
        let since_ns = self.now_ns.saturating_sub(self.setup.links.dead_after_ns);
        if edge.is_cut && edge.cut_at_ns <= since_ns {
            self.notice(end, connection);
        }
    }

    /// An end finds its connection dead, and dials again.
    pub(super) fn notice(&mut self, end: EndIndex, connection: Connection) {
        if self.ends[end.0].connection == connection && connection != 0 {
            self.take_down(end);
            if self.edges[end.edge()].dial_at_ns.is_none() {
                self.dial_at(end.edge(), self.now_ns, 0);
            }
        }
    }

    /// An end is not connected any more, and what it sent does not arrive.
    fn take_down(&mut self, end: EndIndex) {
        self.forget(end);
        self.ends[end.0].pipe = Pipe::default();
    }

    fn forget(&mut self, end: EndIndex) {
        let here = &mut self.ends[end.0];
        here.connection = 0;
        if std::mem::take(&mut here.is_up) {
            if let Some(replica) = &mut self.servers[here.server].replica {
                replica.link_down(here.link);
            }
            let server = here.server;
            self.arm_tick(server);
            self.note_link_change(end);
        }
    }

    fn note_link_change(&mut self, end: EndIndex) {
        if self.now_ns >= WARM_UP_NS {
            self.link_changes.push((end.edge(), self.now_ns));
        }
    }

    /// The server of an end is killed: what it wrote still arrives, and then its neighbour notices.
    pub(super) fn abandon(&mut self, end: EndIndex) {
        let connections = [end, end.peer()].map(|end| self.ends[end.0].connection);
        let arrives_at_ns = self.ends[end.0].pipe.arrives_at_ns;
        let reset_at_ns = self.now_ns + self.edges[end.edge()].delay_ns;
        for connection in connections {
            let event = Event::Notice(end.peer(), connection);
            if connection != 0 {
                self.agenda.put(reset_at_ns.max(arrives_at_ns), event);
            }
        }
        self.forget(end);
    }

    /// An edge carries nothing from here on.
    pub(super) fn cut(&mut self, edge: usize) {
        let now_ns = self.now_ns;
        (self.edges[edge].is_cut, self.edges[edge].cut_at_ns) = (true, now_ns);
        for end in [EndIndex(2 * edge), EndIndex(2 * edge + 1)] {
            let connection = self.ends[end.0].connection;
            let at_ns = now_ns + self.setup.links.dead_after_ns;
            self.agenda.put(at_ns, Event::HearNothing(end, connection));
        }
    }

    /// An edge carries again: what is still waited for arrives.
    pub(super) fn splice(&mut self, edge: usize) {
        self.edges[edge].is_cut = false;
        let at_ns = self.now_ns + self.edges[edge].delay_ns;
        for end in [EndIndex(2 * edge), EndIndex(2 * edge + 1)] {
            let pipe = &mut self.ends[end.0].pipe;
            for _ in 0..std::mem::take(&mut pipe.stalled_count) {
                let event = Event::Deliver(end, pipe.connection);
                self.agenda.put(at_ns, event);
            }
            if pipe.is_writing {
                let at_ns = pipe.free_at_ns.max(self.now_ns);
                self.write_at(end, at_ns);
            }
        }
    }
}
