//! What goes wrong, and how it ends.

use crate::agenda::Event;
use crate::checker::Violation;
use crate::disk::{Disk, File, Trouble};
use crate::herd::Herd;
use crate::network::{EndIndex, Packet, State};
use crate::scenario::MS;
use std::collections::BTreeMap;
use std::ops::Range;
use wherd_core::Policy;
use wherd_proto::frame::{self, Frame, Lane, WireVector};

/// How long a server that stopped by itself is down when there are no faults.
const RESTART_NS: u64 = 10 * MS;

/// One sort of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// An edge carries nothing for a while; each end notices at its own time.
    Cut,
    /// One direction of a connection carries nothing any more.
    HalfOpen,
    /// A server stands still for a while.
    Pause,
    /// A process dies: what it wrote stays. It starts again later.
    Kill,
    /// A machine dies: what was not flushed may be lost, in part or as a whole.
    Crash,
    /// All machines die at once.
    CrashOfAll,
    /// A machine dies, and its disk is lost.
    Wipe,
    /// Bits of a journal are no longer what they were.
    BitFlip,
    /// A flush fails.
    FlushFails,
    /// A write fails for want of room.
    DiskFull,
    /// A server's clock is stepped, forwards or backwards.
    ClockStep,
    /// A frame is lost.
    Loss,
    /// A frame comes twice.
    Repeat,
    /// A frame overtakes the one before it.
    Reorder,
    /// Something that is no frame follows one.
    Garbage,
    /// A connection dies just before a COMMIT that follows UPDATES or COUNTS.
    CutBeforeCommit,
    /// A machine dies just after it sent UPDATES or COUNTS.
    CrashAfterUpdates,
    /// A machine dies just after it acknowledged a report or vote.
    CrashAfterAcknowledgement,
    /// All machines die just after one of them acknowledged a report or vote.
    CrashOfAllAfterAcknowledgement,
    /// A machine dies just after it wrote to its journal, and before the flush.
    CrashBeforeFlush,
    /// A machine dies while a journal is compacted, or just before or after the switch.
    CrashInCompaction,
    /// A machine dies just after a link of it came up.
    CrashAfterLinkUp,
    /// A server that starts holds something else than it read.
    Rot,
    /// A server is given another policy.
    NewPolicy,
    /// A second process begins to serve under a server's name, with a copy of its disk or none.
    Twin,
}

impl Fault {
    /// What strikes where something else happens, with how often that is in a thousand, of which
    /// one is drawn.
    pub(crate) const AT_AN_OCCASION: [(Self, &'static [u32]); 12] = [
        (Self::Loss, &[0, 0, 20, 150]),
        (Self::Repeat, &[0, 0, 50, 300]),
        (Self::Reorder, &[0, 0, 20, 150]),
        (Self::Garbage, &[0, 0, 10, 50]),
        (Self::CutBeforeCommit, &[0, 0, 20, 100]),
        (Self::CrashAfterUpdates, &[0, 0, 20]),
        (Self::CrashAfterAcknowledgement, &[0, 0, 50, 300]),
        (Self::CrashOfAllAfterAcknowledgement, &[0, 0, 0, 20]),
        (Self::CrashBeforeFlush, &[0, 0, 20, 50]),
        (Self::CrashInCompaction, &[0, 0, 100, 300]),
        (Self::CrashAfterLinkUp, &[0, 0, 20]),
        (Self::Rot, &[0, 0, 0, 500]),
    ];

    /// What strikes from time to time, with in how many of a thousand bursts.
    pub(crate) const FROM_TIME_TO_TIME: [(Self, u32); 12] = [
        (Self::Twin, 500),
        (Self::Cut, 500),
        (Self::HalfOpen, 500),
        (Self::Pause, 400),
        (Self::Kill, 300),
        (Self::Crash, 500),
        (Self::CrashOfAll, 100),
        (Self::Wipe, 150),
        (Self::BitFlip, 150),
        (Self::FlushFails, 300),
        (Self::DiskFull, 200),
        (Self::ClockStep, 300),
    ];
}

/// What goes wrong while clients report.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// What strikes from time to time; may be empty.
    pub kinds: Vec<Fault>,
    /// How long it is from one to the next.
    pub gap_ns: Range<u64>,
    /// How long a cut edge stays cut or a server stays down or paused.
    pub lasting_ns: Range<u64>,
    /// What strikes where something else happens, and how often in a thousand.
    pub per_mille: BTreeMap<Fault, u32>,
}

impl Herd<'_> {
    /// Whether a fault strikes that has an occasion to; it counts.
    pub(crate) fn strikes(&mut self, fault: Fault) -> bool {
        let per_mille = self.burst().faults.per_mille.get(&fault);
        let is_struck = self.is_faulty && self.random.chance(per_mille.copied().unwrap_or(0));
        if is_struck {
            self.count(fault);
        }
        is_struck
    }

    /// Whether a server that starts is to rot: also where it starts because faults have stopped,
    /// or the next report of a client would mend it.
    pub(crate) fn rots(&mut self) -> bool {
        let per_mille = self.burst().faults.per_mille.get(&Fault::Rot);
        self.random.chance(per_mille.copied().unwrap_or(0))
    }

    pub(crate) fn count(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }

    /// One of the burst's faults strikes, and the next one is put on the agenda.
    pub(crate) fn strike(&mut self) -> Result<(), Violation> {
        let burst = self.burst();
        if !self.is_faulty || burst.faults.kinds.is_empty() {
            return Ok(());
        }
        let lasting_ns = self.lasting_ns();
        let fault = self.random.pick(&burst.faults.kinds);
        if self.strike_with(fault, lasting_ns)? {
            self.count(fault);
        }
        let gap_ns = self.random.within(&burst.faults.gap_ns) * burst.slowness;
        self.agenda.put(self.now_ns + gap_ns, Event::Fault);
        Ok(())
    }

    pub(crate) fn lasting_ns(&mut self) -> u64 {
        let burst = self.burst();
        self.random.within(&burst.faults.lasting_ns) * burst.slowness
    }

    /// Whether it met anything.
    fn strike_with(&mut self, fault: Fault, lasting_ns: u64) -> Result<bool, Violation> {
        let end = EndIndex(self.random.below(self.ends.len()));
        let server = self.random.below(self.servers.len());
        let is_up = self.servers[server].replica.is_some();
        Ok(match fault {
            Fault::Twin => self.start_twin()?,
            Fault::Cut => self.cut(end, lasting_ns),
            Fault::HalfOpen => self.half_open(end),
            Fault::NewPolicy => self.change_policy(server),
            Fault::Pause => self.pause(server, lasting_ns),
            Fault::Kill => self.kill_process(server),
            Fault::Crash if is_up => {
                self.crash(server);
                true
            }
            Fault::CrashOfAll => self.crash_all(),
            Fault::Wipe => self.wipe(server),
            Fault::BitFlip => self.flip(server),
            Fault::FlushFails => {
                // It counts when a flush meets it.
                self.servers[server].disk.failing = Trouble::until(self.now_ns + lasting_ns);
                false
            }
            Fault::DiskFull => {
                self.servers[server].disk.full = Trouble::until(self.now_ns + lasting_ns);
                false
            }
            Fault::ClockStep if is_up => {
                let step_ns = self.random.within(&(0..self.scenario.clocks.step_ns)) as i64;
                let step_ns = if self.random.chance(500) {
                    step_ns
                } else {
                    -step_ns
                };
                self.tell(|herd| format!("{}: clock {step_ns} ns", herd.servers[server].name));
                self.servers[server].clock.step(step_ns);
                true
            }
            _ => false,
        })
    }

    /// Whoever of two with one name does not run is started beside the other.
    fn start_twin(&mut self) -> Result<bool, Violation> {
        let Some(twin) = self.is_retired.iter().position(|is_retired| *is_retired) else {
            return Ok(false);
        };
        let other = self.scenario.topology.twin_of(twin);
        let other = other.expect("who is retired is one of two");
        let is_copied = self.random.chance(500);
        let bytes = self.servers[other].disk.flushed().to_vec();
        let here = &mut self.servers[twin];
        here.disk = Disk::default();
        if is_copied && !bytes.is_empty() {
            let flushed = bytes.len();
            here.disk.current = Some(File {
                bytes,
                flushed,
                is_damaged: true,
                ..File::default()
            });
        }
        self.is_retired[twin] = false;
        self.start(twin)?;
        Ok(true)
    }

    /// A server is not started again: somebody else has its name.
    fn retire(&mut self, server: usize) {
        self.is_retired[server] = true;
        if self.servers[server].replica.is_some() {
            self.stop(server, "somebody else has its name");
        }
        self.destroyed(server);
    }

    /// Where two have one name and not both run, the other one is to stay as it is.
    fn retire_twin(&mut self) {
        for server in 0..self.servers.len() {
            let is_candidate = !self.is_retired[server] && self.servers[server].replica.is_none();
            let twin = self.scenario.topology.twin_of(server);
            if is_candidate && twin.is_some_and(|twin| !self.is_retired[twin]) {
                self.retire(server);
            }
        }
    }

    fn change_policy(&mut self, server: usize) -> bool {
        let policy = self.random.pick(&Policy::ALL);
        let here = &mut self.servers[server];
        here.policy = policy;
        let settings = here.settings(self.scenario);
        let Some(replica) = &mut here.replica else {
            return false;
        };
        replica.set_numbers(settings, self.now_ns);
        self.tell(|herd| format!("{}: policy {}", herd.servers[server].name, policy.name()));
        true
    }

    /// Nothing passes an edge for a while, nor arrives that was on its way.
    fn cut(&mut self, end: EndIndex, lasting_ns: u64) -> bool {
        let edge = end.edge();
        if self.is_cut[edge] {
            return false;
        }
        self.tell(|herd| format!("{} is cut", herd.end_name(end)));
        self.is_cut[edge] = true;
        self.agenda
            .put(self.now_ns + lasting_ns, Event::Mended(edge));
        for end in [end, end.peer()] {
            let pipe = &mut self.ends[end.0].pipe;
            pipe.in_flight.clear();
            pipe.is_dead = true;
            self.notice_later(end);
        }
        true
    }

    /// An edge carries again; who waits for that finds out some time.
    pub(crate) fn mend(&mut self, edge: usize) {
        if !self.is_edge_away[edge] && std::mem::take(&mut self.is_cut[edge]) {
            self.redial(EndIndex(2 * edge));
            self.redial(EndIndex(2 * edge + 1));
        }
    }

    fn half_open(&mut self, end: EndIndex) -> bool {
        let is_alive = self.ends[end.0].state != State::Down && !self.ends[end.0].pipe.is_dead;
        if is_alive {
            self.kill(end);
        }
        is_alive
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

    /// A server stands still. When it does so for long, its neighbours give it up.
    fn pause(&mut self, server: usize, lasting_ns: u64) -> bool {
        if !self.servers[server].is_running() {
            return false;
        }
        self.tell(|herd| format!("{} stands still", herd.servers[server].name));
        self.servers[server].is_paused = true;
        self.agenda
            .put(self.now_ns + lasting_ns, Event::GoOn(server));
        let dead_after_ns = self.scenario.network.dead_after_ns;
        for end in self.servers[server].ends.clone() {
            if lasting_ns > dead_after_ns {
                let peer = end.peer();
                let event = Event::Notice(peer, self.ends[peer.0].connection);
                self.agenda.put(self.now_ns + dead_after_ns, event);
            }
        }
        true
    }

    /// A server no longer stands still: what was to happen to it happens.
    pub(crate) fn go_on(&mut self, server: usize) {
        self.servers[server].is_paused = false;
        for event in std::mem::take(&mut self.servers[server].delayed) {
            self.agenda.put(self.now_ns, event);
        }
    }

    fn kill_process(&mut self, server: usize) -> bool {
        let is_met = self.servers[server].replica.is_some();
        if is_met {
            self.servers[server].disk.take_name();
            self.stop(server, "its process dies");
        }
        is_met
    }

    /// A server's machine dies. What it sent last may arrive or not.
    pub(crate) fn crash(&mut self, server: usize) {
        if self.servers[server].replica.is_some() {
            self.servers[server].disk.survive_crash(&mut self.random);
            self.stop(server, "its machine dies");
        }
    }

    pub(crate) fn crash_all(&mut self) -> bool {
        let up: Vec<_> = (0..self.servers.len())
            .filter(|server| self.servers[*server].replica.is_some())
            .collect();
        up.iter().for_each(|server| self.crash(*server));
        !up.is_empty()
    }

    pub(crate) fn wipe(&mut self, server: usize) -> bool {
        let here = &self.servers[server];
        if here.disk.current.is_none() && here.replica.is_none() {
            return false;
        }
        self.crash(server);
        self.tell(|herd| format!("{} loses its disk", herd.servers[server].name));
        let disk = &mut self.servers[server].disk;
        (disk.current, disk.next) = (None, None);
        self.destroyed(server);
        true
    }

    fn flip(&mut self, server: usize) -> bool {
        let random = &mut self.random;
        let file = self.servers[server].disk.current.as_mut();
        let Some(file) = file.filter(|file| file.flushed > 0) else {
            return false;
        };
        file.flip(random);
        self.tell(|herd| format!("{} has bits flipped", herd.servers[server].name));
        self.destroyed(server);
        true
    }

    /// A server's memory is gone. It starts again later.
    fn stop(&mut self, server: usize, why: &str) {
        self.tell(|herd| format!("{}: {why}", herd.servers[server].name));
        let has_journal = self.servers[server].has_journal;
        self.servers[server].stop();
        self.checker.forget(server);
        if !has_journal {
            self.destroyed(server);
        }
        for end in self.servers[server].ends.clone() {
            self.ends[end.0].state = State::Down;
            if self.random.chance(500) {
                self.ends[end.0].pipe.in_flight.clear();
            }
            if self.ends[end.peer().0].state != State::Down {
                self.notice_later(end.peer());
            }
        }
        let lasting_ns = if self.is_faulty {
            self.lasting_ns()
        } else {
            RESTART_NS
        };
        let event = Event::Start(server);
        self.agenda.put(self.now_ns + lasting_ns, event);
    }

    /// A server is told of a newer run of its name: it stops, and is started again by somebody who
    /// knows why.
    pub(crate) fn fence(&mut self, server: usize, incarnation: u64) {
        let here = &mut self.servers[server];
        here.fenced_by = here.fenced_by.max(incarnation);
        here.disk.take_name();
        self.is_fenced[server] = true;
        self.fenced_at_ns = self.now_ns;
        let twin = self.scenario.topology.twin_of(server);
        if twin.is_some_and(|twin| self.servers[twin].replica.is_some()) {
            self.retire(server);
        } else {
            self.stop(server, "a newer run is known");
        }
    }

    /// Something of what a server was to keep is gone: who else keeps what it had acknowledged.
    fn destroyed(&mut self, server: usize) {
        let stores = self.stores();
        self.checker.destroyed(server, &stores, self.now_ns);
    }

    /// Faults stop, and what they left behind is mended, but where servers or edges stay away.
    pub(crate) fn heal(&mut self) -> Result<(), Violation> {
        self.tell(|_| "faults stop".into());
        if self.burst().faults.per_mille.get(&Fault::Rot) > Some(&0) {
            let server = self.random.below(self.servers.len());
            self.kill_process(server);
        }
        self.is_faulty = false;
        self.retire_twin();
        let most_skew_ns = self.scenario.clocks.skew_ns;
        for server in 0..self.servers.len() {
            self.go_on(server);
            let here = &mut self.servers[server];
            here.disk.full = Trouble::default();
            here.disk.failing = Trouble::default();
            here.clock.set(self.now_ns, most_skew_ns, &mut self.random);
            if self.is_gone(server) {
                self.servers[server].disk.take_name();
                if self.servers[server].replica.is_some() {
                    self.stop(server, "it stays away");
                }
            } else {
                self.start(server)?;
            }
        }
        for edge in 0..self.is_cut.len() {
            if self.is_edge_away[edge] {
                self.cut(EndIndex(2 * edge), 0);
            } else {
                self.mend(edge);
            }
        }
        for end in (0..self.ends.len()).map(EndIndex) {
            if self.ends[end.0].pipe.is_damaged {
                self.ends[end.0].pipe.is_dead = true;
                self.notice_later(end);
                self.notice_later(end.peer());
            }
        }
        Ok(())
    }

    /// Sends a frame, or does not, or not only.
    pub(crate) fn send_badly(&mut self, end: EndIndex, packet: Packet) {
        if self.strikes(Fault::Loss) {
            self.tell(|_| "  which is lost".into());
            self.ends[end.0].pipe.is_damaged = true;
            return;
        }
        let again = self.strikes(Fault::Repeat).then(|| packet.bytes.clone());
        let garbage = self
            .strikes(Fault::Garbage)
            .then(|| self.garbage(&packet.bytes));
        self.send(end, packet);
        self.overtake(end);
        for bytes in again.into_iter().chain(garbage) {
            self.tell(|_| format!("  and then {bytes:?}"));
            self.ends[end.0].pipe.is_damaged = true;
            let is_hello = false;
            self.send(end, Packet { bytes, is_hello });
        }
    }

    /// Lets the frame that was sent last arrive before the one before it, if there is one.
    fn overtake(&mut self, end: EndIndex) {
        let in_flight = &self.ends[end.0].pipe.in_flight;
        let count = in_flight.len();
        if count < 2 || in_flight[count - 2].is_hello || !self.strikes(Fault::Reorder) {
            return;
        }
        let pipe = &mut self.ends[end.0].pipe;
        pipe.in_flight.swap(count - 1, count - 2);
        pipe.is_damaged = true;
        self.tell(|_| "  before the one before it".into());
    }

    /// Bytes that are no frame, or a frame out of place. A changed frame that is still one is not
    /// among them: without a checksum nobody could tell, and TCP has one.
    fn garbage(&mut self, frame: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.random.below(4) {
            0 => bytes.extend((0..=self.random.below(40)).map(|_| self.random.any() as u8)),
            1 => {
                let lane = self.votes.pick(&Lane::ALL);
                frame::write_commit(&mut bytes, lane, u64::MAX, &WireVector::new());
            }
            2 => frame::write_refusal(&mut bytes, "not wanted"),
            _ => {
                bytes.extend_from_slice(frame);
                let at = self.random.below(bytes.len());
                bytes[at] ^= 1 << self.random.below(8);
            }
        }
        let is_effective = match frame::decode(&bytes, usize::MAX) {
            Ok(Some((Frame::Commit { number, .. }, _))) => number < u64::MAX,
            Ok(Some((frame, _))) => {
                !matches!(frame, Frame::Unknown | Frame::Refusal(_) | Frame::Hello(_))
            }
            _ => false,
        };
        if is_effective {
            bytes = vec![0; 4];
        }
        bytes
    }
}
