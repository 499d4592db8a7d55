//! Where clients are: the newest of what was taken.

use super::{MAX_CLIENTS, NOW_NS, World, origin};
use std::cmp::Ordering;
use wherd_core::Outcome;
use wherd_proto::frame::{Lane, Updates};
use wherd_proto::{AtText, AtTexts, Origin, Report, Request};

/// The newest report of a client, in order of precedence.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) ordered_at_ns: i64,
    pub(super) origin: Origin,
    pub(super) sequence: u64,
    /// Its text; several where a stranger told several of one update, and any of them may be held.
    pub(super) texts: Vec<Vec<u8>>,
}

impl Held {
    pub(super) fn precedence(&self) -> (i64, &Origin, u64) {
        (self.ordered_at_ns, &self.origin, self.sequence)
    }

    pub(super) fn may_be(&self, text: &[u8]) -> bool {
        self.texts.iter().any(|own| own == text)
    }

    /// Whether it says that its client is forgotten, where `quantity` is all or any of its texts.
    pub(super) fn is_forgotten(&self, quantity: fn(&[bool]) -> bool) -> bool {
        let is_forgotten = |text: &Vec<u8>| AtText::parse(text).is_some_and(AtText::is_forgotten);
        quantity(&self.texts.iter().map(is_forgotten).collect::<Vec<_>>())
    }
}

pub(super) fn all(of: &[bool]) -> bool {
    of.iter().all(|is| *is)
}

pub(super) fn any(of: &[bool]) -> bool {
    of.contains(&true)
}

impl World {
    pub(super) fn expect_updates(&mut self, updates: &Updates<'_>) {
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
        let other = self.newest.get(client);
        let order = other.map(|other| held.precedence().cmp(&other.precedence()));
        if order == Some(Ordering::Less) {
            return false;
        }
        let is_other = order != Some(Ordering::Equal)
            || !other.is_some_and(|other| other.may_be(&held.texts[0]));
        if is_other && self.is_reflected(Lane::Positions, &held.origin, held.sequence) {
            self.is_repair_due[Lane::Positions as usize] = true;
        }
        let taken = self.journal.taken.entry(client.to_vec()).or_default();
        taken.push(held.clone());
        match (order, self.newest.get_mut(client)) {
            (Some(Ordering::Equal), Some(other)) => other.texts.extend(held.texts),
            _ => _ = self.newest.insert(client.to_vec(), held),
        }
        order != Some(Ordering::Equal)
    }

    /// This run numbers something; whether it is the newest of its client.
    fn expect_own(&mut self, client: &[u8], ordered_at_ns: i64, text: Vec<u8>) -> bool {
        let lane = Lane::Positions;
        let held = Held {
            ordered_at_ns,
            origin: origin("Hill"),
            sequence: self.next_sequence(lane),
            texts: vec![text],
        };
        let sequence = held.sequence;
        self.journal.reports.push((client.to_vec(), held.clone()));
        let is_newest = self.expect_newest(client, held);
        self.reflected[lane as usize].insert(origin("Hill"), sequence);
        is_newest
    }

    /// A client of this server reports: one of sixteen, at one of some times around now.
    pub(super) fn report(&mut self, how: u64) {
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
        let latest_ns = NOW_NS + 5_000_000_000;
        let ordered_at_ns = report.reported_at.saturating_ns().min(latest_ns);
        if self.expect_own(report.client, ordered_at_ns, text) {
            Outcome::Accepted
        } else {
            Outcome::Older
        }
    }

    /// One of the clients of [`World::report`] is forgotten, if it is known.
    pub(super) fn forget(&mut self, how: u64) {
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
            let mut text = Vec::new();
            AtText::write_forgotten(&mut text, &client, ordered_at_ns);
            self.expect_own(&client, ordered_at_ns, text);
        }
        self.perform(&effects);
    }

    /// What is sent of a client is what is held.
    pub(super) fn check_updates(&self, updates: &Updates<'_>) {
        assert!(!updates.entries.is_empty());
        for (origin, update) in &updates.entries {
            let held = &self.newest[update.at.client()];
            assert!(held.may_be(update.at.as_bytes()));
            assert_eq!(held.origin, updates.origins[*origin]);
            let numbers = (update.sequence, update.ordered_at_ns);
            assert_eq!((held.sequence, held.ordered_at_ns), numbers);
        }
    }

    pub(super) fn check_clients_count(&self) {
        let known_count = |quantity| {
            let known = self.newest.values();
            known.filter(|held| !held.is_forgotten(quantity)).count()
        };
        let known_counts = known_count(any)..=known_count(all);
        assert!(known_counts.contains(&self.replica.clients_count()));
    }

    pub(super) fn check_positions(&self) {
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
