//! Which server holds which update, and since when the last one does.
//!
//! Updates have numbers in the order of their acceptance. Times of a client's reports rise with
//! them, so of two updates of a client the one with the higher number is the newer.

/// No update.
pub(super) const NONE: u32 = u32::MAX;
/// Of an update that came in a way that nobody could follow.
const UNKNOWN_HOPS: u8 = u8::MAX;

/// What one server holds of one client.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) update: u32,
    /// What it held before: a frame on its way may still tell of that.
    before: u32,
    hops: u8,
    hops_before: u8,
}

/// One accepted update.
#[derive(Clone, Copy)]
pub(super) struct Accepted {
    pub(super) at_ns: u64,
    /// When the last server so far held it or a newer one.
    pub(super) last_at_ns: u64,
    pub(super) client: u32,
    /// What the client says, since 1970.
    pub(super) reported_at_ns: u64,
    /// The update of this client before it.
    previous: u32,
    /// Servers that have still to hold it.
    pub(super) open: u16,
    pub(super) server: u16,
}

/// Who holds what.
pub(super) struct Delivery {
    client_count: usize,
    pub(super) updates: Vec<Accepted>,
    newest: Vec<u32>,
    /// By server, then by client.
    held: Vec<Held>,
    /// By server: updates from this one on are waited for there.
    first_owed: Vec<u32>,
    is_running: Vec<bool>,
    /// Update of each sequence, by run.
    runs: Vec<Vec<u32>>,
    /// All updates before it have been delivered.
    oldest_open: usize,
    pub(super) open_count: usize,
    /// How many updates reached a server after so many hops.
    pub(super) hops: Box<[u64; 256]>,
    pub(super) duplicate_count: u64,
    /// How often an update was delivered by a newer one.
    pub(super) conflated_count: u64,
    healing: Option<Healing>,
}

/// What was held somewhere when the last fault changed has to come to every server.
struct Healing {
    at_ns: u64,
    /// By part of the herd: what is held in it, by client.
    targets: Vec<Vec<u32>>,
    part_of: Vec<usize>,
    /// Of how many clients, over all servers, the target is not held.
    missing_count: usize,
    healed_at_ns: u64,
}

impl Delivery {
    pub(super) fn new(server_count: usize, client_count: usize) -> Self {
        let nothing = Held {
            update: NONE,
            before: NONE,
            hops: 0,
            hops_before: 0,
        };
        Self {
            client_count,
            updates: Vec::new(),
            newest: vec![NONE; client_count],
            held: vec![nothing; server_count * client_count],
            first_owed: vec![0; server_count],
            is_running: vec![true; server_count],
            runs: Vec::new(),
            oldest_open: 0,
            open_count: 0,
            hops: Box::new([0; 256]),
            duplicate_count: 0,
            conflated_count: 0,
            healing: None,
        }
    }

    pub(super) fn begin_run(&mut self) -> usize {
        self.runs.push(Vec::new());
        self.runs.len() - 1
    }

    pub(super) fn held(&self, server: usize) -> &[Held] {
        &self.held[server * self.client_count..][..self.client_count]
    }

    /// A server has numbered the next update of its run.
    pub(super) fn accept(
        &mut self,
        (server, run): (usize, usize),
        (client, reported_at_ns): (u32, u64),
        now_ns: u64,
    ) {
        let id = self.updates.len() as u32;
        self.runs[run].push(id);
        let others = self.is_running.iter().filter(|is_running| **is_running);
        let previous = std::mem::replace(&mut self.newest[client as usize], id);
        self.updates.push(Accepted {
            at_ns: now_ns,
            last_at_ns: now_ns,
            client,
            reported_at_ns,
            previous,
            open: others.count() as u16,
            server: server as u16,
        });
        self.open_count += 1;
        self.hold(server, id, 0, now_ns);
    }

    /// A server received an entry, which `peer` sent: which update it was, and whether it was the
    /// newest of its client there.
    pub(super) fn receive(
        &mut self,
        (server, peer): (usize, usize),
        (run, sequence): (usize, u64),
        now_ns: u64,
    ) -> (u32, bool) {
        let id = self.runs[run][sequence as usize - 1];
        let client = self.updates[id as usize].client as usize;
        let here = self.held[server * self.client_count + client].update;
        if here != NONE && here >= id {
            self.duplicate_count += 1;
            return (id, false);
        }
        let there = &self.held[peer * self.client_count + client];
        let hops = match id {
            _ if id == there.update => there.hops,
            _ if id == there.before => there.hops_before,
            _ => UNKNOWN_HOPS,
        };
        let hops = hops.saturating_add(1);
        if hops != UNKNOWN_HOPS && id >= self.first_owed[server] {
            self.hops[usize::from(hops)] += 1;
        }
        self.hold(server, id, hops, now_ns);
        (id, true)
    }

    /// A server holds an update, and so all that it supersedes.
    fn hold(&mut self, server: usize, id: u32, hops: u8, now_ns: u64) {
        let client = self.updates[id as usize].client as usize;
        let held = &mut self.held[server * self.client_count + client];
        let before = *held;
        *held = Held {
            update: id,
            before: before.update,
            hops,
            hops_before: before.hops,
        };
        let mut next = id;
        while next != NONE && next != before.update && next >= self.first_owed[server] {
            let update = &mut self.updates[next as usize];
            update.open -= 1;
            update.last_at_ns = now_ns;
            self.open_count -= usize::from(update.open == 0);
            self.conflated_count += u64::from(next != id);
            next = update.previous;
        }
        if let Some(healing) = &mut self.healing {
            healing.hold(server, client, (before.update, id), now_ns);
        }
    }

    /// A server is gone: nobody waits for it.
    pub(super) fn kill(&mut self, server: usize) {
        self.is_running[server] = false;
        self.skip_delivered();
        for id in self.oldest_open..self.updates.len() {
            let update = &mut self.updates[id];
            let held = self.held[server * self.client_count + update.client as usize].update;
            let is_held = held != NONE && held >= id as u32;
            if update.open > 0 && id as u32 >= self.first_owed[server] && !is_held {
                update.open -= 1;
                self.open_count -= usize::from(update.open == 0);
            }
        }
    }

    /// A server is there again, with what it held.
    pub(super) fn start(&mut self, server: usize) {
        self.is_running[server] = true;
        self.first_owed[server] = self.updates.len() as u32;
    }

    fn skip_delivered(&mut self) {
        let open = &self.updates[self.oldest_open..];
        self.oldest_open += open.iter().take_while(|update| update.open == 0).count();
    }

    /// The last fault has changed: from here on it heals. `part_of` tells for each server that runs
    /// which part of the herd it is in.
    pub(super) fn begin_healing(&mut self, part_of: Vec<usize>, now_ns: u64) {
        let part_count = part_of.iter().max().map_or(0, |last| last + 1);
        let mut targets = vec![vec![NONE; self.client_count]; part_count];
        let running: Vec<usize> = (0..part_of.len()).filter(|s| self.is_running[*s]).collect();
        for server in &running {
            let targets = &mut targets[part_of[*server]];
            for (target, held) in targets.iter_mut().zip(self.held(*server)) {
                if held.update != NONE && (*target == NONE || held.update > *target) {
                    *target = held.update;
                }
            }
        }
        let missing_count = running.iter().map(|server| {
            let targets = targets[part_of[*server]].iter();
            let pairs = targets.zip(self.held(*server));
            pairs.filter(|(t, held)| **t != held.update).count()
        });
        self.healing = Some(Healing {
            at_ns: now_ns,
            missing_count: missing_count.sum(),
            targets,
            part_of,
            healed_at_ns: now_ns,
        });
    }

    /// Whether all that is waited for has come.
    pub(super) fn is_done(&self) -> bool {
        let is_healed = self.healing.as_ref().is_none_or(|h| h.missing_count == 0);
        self.open_count == 0 && is_healed
    }

    /// How long healing took after the last fault, where there was one; the inner `None`: it did not
    /// end.
    pub(super) fn healed_after_ns(&self) -> Option<Option<u64>> {
        let healing = self.healing.as_ref()?;
        let after_ns = healing.healed_at_ns - healing.at_ns;
        Some((healing.missing_count == 0).then_some(after_ns))
    }
}

impl Healing {
    fn hold(&mut self, server: usize, client: usize, (before, held): (u32, u32), now_ns: u64) {
        let target = self.targets[self.part_of[server]][client];
        let was_missing = before == NONE || before < target;
        if target != NONE && was_missing && held >= target {
            self.missing_count -= 1;
            self.healed_at_ns = now_ns;
        }
    }
}
