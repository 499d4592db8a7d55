//! What goes wrong, and how it ends.

use crate::agenda::Event;
use crate::herd::Herd;
use crate::network::{EndIndex, Packet, State};
use crate::scenario::{Fault, Faults};
use wherd_proto::frame::{self, Frame, WireVector};

impl Herd<'_> {
    /// Whether a fault strikes that strikes so many times in a thousand.
    pub(crate) fn strikes(&mut self, per_mille: impl Fn(&Faults) -> u32) -> bool {
        self.is_faulty && self.random.chance(per_mille(&self.scenario.faults))
    }

    /// One of the scenario's faults strikes, and the next one is put on the agenda.
    pub(crate) fn strike(&mut self) {
        let scenario = self.scenario;
        if !self.is_faulty || scenario.faults.kinds.is_empty() {
            return;
        }
        let lasting_ns = self.random.within(&scenario.faults.lasting_ns);
        let end = EndIndex(self.random.below(self.ends.len()));
        let server = self.random.below(self.servers.len());
        match self.random.pick(&scenario.faults.kinds) {
            Fault::Cut => self.cut(end, lasting_ns),
            Fault::HalfOpen => self.kill(end),
            Fault::Crash => self.crash(server),
            Fault::Pause => {
                self.tell(|herd| format!("{} stands still", herd.servers[server].name));
                self.servers[server].paused_until_ns = self.now_ns + lasting_ns;
            }
        }
        let gap_ns = self.random.within(&scenario.faults.gap_ns);
        self.agenda.put(self.now_ns + gap_ns, Event::Fault);
    }

    /// Nothing passes an edge for a while, nor arrives that was on its way.
    fn cut(&mut self, end: EndIndex, lasting_ns: u64) {
        self.tell(|herd| format!("{} is cut", herd.end_name(end)));
        self.cut_until_ns[end.edge()] = self.now_ns + lasting_ns;
        for end in [end, end.peer()] {
            self.ends[end.0].pipe.in_flight.clear();
            self.ends[end.0].pipe.is_dead = true;
            self.notice_later(end);
        }
    }

    /// One direction carries nothing from here on; what is on its way arrives. The other end
    /// hears nothing any more, closes, and this end has a reset then.
    pub(crate) fn kill(&mut self, end: EndIndex) {
        self.tell(|herd| format!("{} is heard no more", herd.end_name(end)));
        self.ends[end.0].pipe.is_dead = true;
        let peer = end.peer();
        let event = Event::Notice(peer, self.ends[peer.0].connection);
        let at_ns = self.now_ns + self.scenario.network.dead_after_ns;
        self.agenda.put(at_ns, event);
        if self.ends[peer.0].connection != self.ends[end.0].connection {
            // The other end is not on this connection yet, and will not be.
            let event = Event::Notice(end, self.ends[end.0].connection);
            self.agenda.put(at_ns, event);
        }
    }

    /// A server loses all it had. What it sent last may arrive or not.
    pub(crate) fn crash(&mut self, server: usize) {
        if self.servers[server].replica.take().is_none() {
            return;
        }
        self.tell(|herd| format!("{} crashes", herd.servers[server].name));
        self.checker.forget(server);
        for end in self.servers[server].ends.clone() {
            self.ends[end.0].state = State::Down;
            if self.random.chance(500) {
                self.ends[end.0].pipe.in_flight.clear();
            }
            if self.ends[end.peer().0].state != State::Down {
                self.notice_later(end.peer());
            }
        }
        let lasting_ns = self.random.within(&self.scenario.faults.lasting_ns);
        let event = Event::Start(server);
        self.agenda.put(self.now_ns + lasting_ns, event);
    }

    /// A server starts, empty, and dials at once.
    pub(crate) fn start(&mut self, server: usize) {
        if self.servers[server].replica.is_some() {
            return;
        }
        let hash_key = self.random.any();
        self.servers[server].start(self.scenario, hash_key);
        self.tell(|herd| format!("{} starts", herd.servers[server].origin()));
        for end in self.servers[server].ends.clone() {
            self.agenda.put(self.now_ns, Event::Dial(end));
        }
    }

    /// Faults stop, and what they left behind is mended.
    pub(crate) fn heal(&mut self) {
        self.tell(|_| "faults stop".into());
        self.is_faulty = false;
        for server in 0..self.servers.len() {
            self.servers[server].paused_until_ns = self.now_ns;
            self.start(server);
        }
        self.cut_until_ns.fill(self.now_ns);
        for end in (0..self.ends.len()).map(EndIndex) {
            if self.ends[end.0].pipe.is_damaged {
                self.ends[end.0].pipe.is_dead = true;
                self.notice_later(end);
                self.notice_later(end.peer());
            }
        }
        self.checker.healed();
    }

    /// Sends a frame, or does not, or not only.
    pub(crate) fn send_badly(&mut self, end: EndIndex, packet: Packet) {
        if self.strikes(|faults| faults.loss_per_mille) {
            self.tell(|_| "  which is lost".into());
            self.ends[end.0].pipe.is_damaged = true;
            return;
        }
        let again = self
            .strikes(|faults| faults.repeat_per_mille)
            .then(|| packet.bytes.clone());
        let garbage = self
            .strikes(|faults| faults.garbage_per_mille)
            .then(|| self.garbage(&packet.bytes));
        self.send(end, packet);
        if self.strikes(|faults| faults.reorder_per_mille) {
            self.overtake(end);
        }
        for bytes in again.into_iter().chain(garbage) {
            self.tell(|_| format!("  and then {bytes:?}"));
            self.ends[end.0].pipe.is_damaged = true;
            let is_hello = false;
            self.send(end, Packet { bytes, is_hello });
        }
    }

    /// Lets the frame that was sent last arrive before the one before it.
    fn overtake(&mut self, end: EndIndex) {
        let pipe = &mut self.ends[end.0].pipe;
        let count = pipe.in_flight.len();
        if count >= 2 && !pipe.in_flight[count - 2].is_hello {
            pipe.in_flight.swap(count - 1, count - 2);
            pipe.is_damaged = true;
            self.tell(|_| "  before the one before it".into());
        }
    }

    /// Bytes that are no frame, or a frame out of place. A changed frame that is still one is not
    /// among them: without a checksum nobody could tell, and TCP has one.
    fn garbage(&mut self, frame: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.random.below(4) {
            0 => bytes.extend((0..=self.random.below(40)).map(|_| self.random.any() as u8)),
            1 => frame::write_commit(&mut bytes, u64::MAX, &WireVector::new()),
            2 => frame::write_refusal(&mut bytes, "not wanted"),
            _ => {
                bytes.extend_from_slice(frame);
                let at = self.random.below(bytes.len());
                bytes[at] ^= 1 << self.random.below(8);
            }
        }
        let is_effective = match frame::decode(&bytes, usize::MAX) {
            Ok(Some((Frame::Commit { number, .. }, _))) => number < u64::MAX,
            Ok(Some((frame, _))) => matches!(frame, Frame::Updates(_) | Frame::Have(_)),
            _ => false,
        };
        if is_effective {
            bytes = vec![0; 4];
        }
        bytes
    }
}
