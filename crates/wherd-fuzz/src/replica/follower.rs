//! A server that keeps the rules, and is linked to nobody else.

use super::{FOLLOWER, LIMIT, MAX_DRAINS, NOW_NS, World, origin};
use crate::replica::counting::counts_of;
use wherd_core::{LinkFault, LinkIndex, Replica};
use wherd_proto::frame::{self, Frame, Hello, Lane, PROTOCOL_VERSION};

/// Its only link.
const LINK: LinkIndex = LinkIndex(0);
/// How long it is between two exchanges in the end: digests are compared in each.
const EXCHANGE_NS: u64 = 2_000_000_000;
/// A server's link states may close the link once, and HAVE and KEPT are answers.
const EXCHANGES_COUNT: usize = 4;
/// Two digests, buckets from both sides, and what was missing.
const REPAIRS_COUNT: usize = 10;

impl World {
    /// The follower takes what its link has, and faults only where somebody made up its own numbers;
    /// whether there is more. Without digests it is told all but these.
    pub(super) fn feed_follower(&mut self, max_bytes: usize, has_digests: bool) -> bool {
        let (out, has_more) = self.drain(FOLLOWER, max_bytes);
        self.follower_now_ns = self.follower_now_ns.max(self.now_ns);
        let mut rest = out.as_slice();
        while let Some((frame, taken)) = frame::decode(rest, LIMIT).expect("our own frames") {
            rest = &rest[taken..];
            if !has_digests && is_digest(&frame) {
                continue;
            }
            let now_ns = self.follower_now_ns;
            let received = self.follower.receive(LINK, &frame, now_ns, &mut Vec::new());
            if let Err(fault) = received {
                let is_made_up = matches!(
                    fault,
                    LinkFault::NotNumbered { .. } | LinkFault::NewerRun { .. }
                );
                assert!(is_made_up, "{fault}");
                self.join_follower();
                return false;
            }
        }
        has_more
    }

    /// Connects the follower anew, where both sides will have it.
    pub(super) fn join_follower(&mut self) {
        self.follower.link_down(LINK);
        if !self.bring_up(FOLLOWER, &hello(&self.follower, "Hill")) {
            return;
        }
        let (theirs, mut effects) = (hello(&self.replica, "Smith"), Vec::new());
        let now_ns = self.follower_now_ns;
        if self
            .follower
            .link_up(LINK, &theirs, now_ns, &mut effects)
            .is_err()
        {
            return self.take_down(FOLLOWER);
        }
        self.follower.tell_kept(LINK, &theirs.origin, &mut effects);
    }

    /// The follower says what it has to say.
    pub(super) fn hear_follower(&mut self, after_ns: u64, has_digests: bool) {
        self.follower_now_ns = self.follower_now_ns.max(self.now_ns + after_ns);
        self.follower
            .tick(self.follower_now_ns, NOW_NS, &mut Vec::new());
        let mut drains = 0..MAX_DRAINS;
        loop {
            let mut out = Vec::new();
            let has_more = self
                .follower
                .drain(LINK, &mut out, 1 << 16, &mut Vec::new());
            let mut rest = out.as_slice();
            while let Some((frame, taken)) = frame::decode(rest, LIMIT).expect("our own frames") {
                rest = &rest[taken..];
                if (has_digests || !is_digest(&frame)) && !self.receive(FOLLOWER, &frame) {
                    return;
                }
            }
            if !has_more {
                return;
            }
            assert!(drains.next().is_some(), "the follower never falls silent");
        }
    }

    /// In the end the follower has all that there is: by what it is sent, or where somebody lied
    /// after digests were compared.
    pub(super) fn agree(&mut self) {
        if !self.can_be_followed() {
            return;
        }
        if !self.sides[FOLLOWER.0].is_up {
            self.join_follower();
        }
        self.exchange(EXCHANGES_COUNT, false);
        for lane in Lane::ALL {
            let is_repair_due = self.is_repair_due[lane as usize];
            assert!(is_repair_due || self.agrees_on(lane), "{lane:?} differ");
        }
        self.exchange(REPAIRS_COUNT, true);
        for lane in Lane::ALL {
            assert!(self.agrees_on(lane), "{lane:?} differ in spite of digests");
            let kept = self.replica.kept_sequence_of(lane, 1);
            assert_eq!(kept, self.replica.sequence_of(lane), "kept by the follower");
        }
        assert_eq!(counts_of(&self.follower), self.counts);
    }

    /// Lets both sides tell what they have, so many times or until they agree.
    fn exchange(&mut self, count: usize, has_digests: bool) {
        for _ in 0..count {
            if Lane::ALL.into_iter().all(|lane| self.agrees_on(lane)) && self.is_kept_told() {
                return;
            }
            self.tick(EXCHANGE_NS);
            let mut drains = 0..MAX_DRAINS;
            while self.feed_follower(1 << 16, has_digests) {
                assert!(drains.next().is_some(), "the follower's link has no end");
            }
            self.hear_follower(0, has_digests);
            self.check();
        }
    }

    fn is_kept_told(&self) -> bool {
        Lane::ALL
            .into_iter()
            .all(|lane| self.replica.kept_sequence_of(lane, 1) == self.replica.sequence_of(lane))
    }

    fn agrees_on(&self, lane: Lane) -> bool {
        self.follower.reflected_of(lane) == self.reflected[lane as usize]
            && self.follower.digest_of(lane).total() == self.replica.digest_of(lane).total()
    }

    /// Whether nobody made up something that the follower never numbered: it does not listen to
    /// that.
    fn can_be_followed(&self) -> bool {
        let reflected = self.reflected.iter().flat_map(|vector| vector.keys());
        let of_positions = self.newest.values().map(|held| &held.origin);
        let of_counters = self.counts.keys().map(|(_, origin)| origin);
        let mut all = reflected.chain(of_positions).chain(of_counters);
        all.all(|o| o.server != origin("Smith").server)
    }
}

fn is_digest(frame: &Frame<'_>) -> bool {
    matches!(frame, Frame::Digest { .. } | Frame::Buckets { .. })
}

fn hello(replica: &Replica, to: &str) -> Hello {
    Hello {
        version: PROTOCOL_VERSION,
        herd: "wherd".to_owned(),
        origin: replica.me().clone(),
        to: origin(to).server,
        reflected: replica.reflected_of(Lane::Positions),
        wants_kept: true,
        counters_reflected: replica.reflected_of(Lane::Counters),
    }
}
