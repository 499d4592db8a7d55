//! What happened here recently to each update: the events that a trace of it is made of.
//!
//! A ring of a fixed number of records; the newest takes the place of the oldest. A record is of
//! one update or of many whose numbers follow each other, where the same happened to them at the
//! same time: the reports of one read, the entries of one drain. So a busy server notes a batch and
//! not a line, and what is noted reaches further back than the number of records says.
//!
//! Nothing is noted about clients. An update is known by who numbered it and how, and whoever asks
//! about a client asks about the update that is held of it.

use crate::effect::Fate;
use crate::entries::{ClientIndex, Entries, Merge};
use crate::link::{JournalFile, LinkIndex};
use crate::version_vector::OriginIndex;
use std::cell::RefCell;

/// Most events of one update that anybody is told, the first ones: an update has one for each time
/// that a link carried it, and links may break for ever.
const MAX_EVENTS: usize = 256;

/// What happened, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The time that [`Replica::note_time`](crate::Replica::note_time) told.
    pub at_ns: u64,
    /// What.
    pub what: What,
}

/// What happened to an update; the last five happened to many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A client reported it, or had itself forgotten, and it was numbered here.
    Reported,
    /// A neighbour sent it.
    Received {
        /// Which.
        from: LinkIndex,
        /// What became of it: [`Fate::Spread`], [`Fate::Held`] or [`Fate::Older`].
        fate: Fate,
    },
    /// It was written for a neighbour's link, to go out as soon as its socket takes it.
    Sent(LinkIndex),
    /// It was its turn on a link, and it was not sent: the other side said that it reflects it.
    Suppressed(LinkIndex),
    /// It was taken to be written to a journal file.
    Written(JournalFile),
    /// All that was written to a journal file before is on the disk.
    Flushed(JournalFile),
    /// A neighbour said that it keeps it.
    KeptBy(LinkIndex),
    /// Its client's answer was let go: it is as safe as was promised.
    Acknowledged,
    /// A link came up, and catches up.
    LinkUp(LinkIndex),
    /// A link went down, with all that waited for it.
    LinkDown(LinkIndex),
}

impl What {
    /// The link that came or went.
    const fn link_change(self) -> Option<LinkIndex> {
        match self {
            Self::LinkUp(link) | Self::LinkDown(link) => Some(link),
            _ => None,
        }
    }
}

/// The same thing at the same time to `count` updates of an origin, from `first` on.
#[derive(Clone, Copy, Debug)]
struct Record {
    at_ns: u64,
    first: u64,
    code: Code,
    origin: OriginIndex,
    count: u32,
}

/// A [`What`] in one word, so that two are compared at once: the kind, and below it the link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Code(u32);

/// Where the kind begins. No server has as many neighbours as fit below it.
const KIND_SHIFT: u32 = 24;

impl Code {
    #[inline]
    const fn new(what: What) -> Self {
        let (kind, link) = match what {
            What::Reported => (0, 0),
            What::Received { from, fate } => match fate {
                Fate::Spread => (1, from.0),
                Fate::Held => (2, from.0),
                Fate::Older | Fate::Suppressed(_) => (3, from.0),
            },
            What::Sent(link) => (4, link.0),
            What::Suppressed(link) => (5, link.0),
            What::Written(file) => (6, file as usize),
            What::Flushed(file) => (7, file as usize),
            What::KeptBy(link) => (8, link.0),
            What::Acknowledged => (9, 0),
            What::LinkUp(link) => (10, link.0),
            What::LinkDown(link) => (11, link.0),
        };
        Self(kind << KIND_SHIFT | link as u32)
    }

    fn what(self) -> What {
        let number = self.0 & ((1 << KIND_SHIFT) - 1);
        let link = LinkIndex(number as usize);
        let file = match number {
            0 => JournalFile::Current,
            _ => JournalFile::Next,
        };
        let received = |fate| What::Received { from: link, fate };
        match self.0 >> KIND_SHIFT {
            0 => What::Reported,
            1 => received(Fate::Spread),
            2 => received(Fate::Held),
            3 => received(Fate::Older),
            4 => What::Sent(link),
            5 => What::Suppressed(link),
            6 => What::Written(file),
            7 => What::Flushed(file),
            8 => What::KeptBy(link),
            9 => What::Acknowledged,
            10 => What::LinkUp(link),
            _ => What::LinkDown(link),
        }
    }
}

impl Record {
    const fn last(&self) -> u64 {
        self.first + self.count as u64 - 1
    }

    /// Whether it is about an update, alone or among others.
    fn is_of(&self, origin: OriginIndex, sequence: u64) -> bool {
        self.origin == origin && (self.first..=self.last()).contains(&sequence)
    }
}

/// How much is noted, and how far back it reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// How many records there may be; 0: nothing is noted.
    pub limit: usize,
    /// How many there are.
    pub count: usize,
    /// How many had to make room.
    pub overwritten_count: u64,
    /// When the oldest of them was noted; `None` where there is none.
    pub oldest_at_ns: Option<u64>,
}

/// See the module's page. Whoever changes anything else of a replica notes it here, so that noting
/// borrows it shared.
#[derive(Debug, Default)]
pub(crate) struct History(RefCell<Ring>);

#[derive(Debug, Default)]
struct Ring {
    limit: usize,
    now_ns: u64,
    /// What would go on the newest record: its kind, its origin, and the number behind its last.
    run: Option<(Code, OriginIndex, u64)>,
    /// In the order in which they came, from `next` on once it is full.
    records: Vec<Record>,
    /// Where the next one goes once it is full.
    next: usize,
    newest: usize,
    overwritten_count: u64,
}

impl History {
    pub(crate) fn new(limit: usize) -> Self {
        Self(RefCell::new(Ring {
            limit,
            ..Ring::default()
        }))
    }

    /// There may be another number of records; the newest of those that there are stay.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.0.borrow_mut().set_limit(limit);
    }

    /// What is noted from here on happens at this time.
    pub(crate) fn set_now(&self, now_ns: u64) {
        let mut ring = self.0.borrow_mut();
        if ring.now_ns != now_ns {
            (ring.now_ns, ring.run) = (now_ns, None);
        }
    }

    /// Notes what happened to one update.
    pub(crate) fn note(&self, what: What, origin: OriginIndex, sequence: u64) {
        self.0.borrow_mut().push(what, origin, sequence, 1);
    }

    /// Notes the reports of one batch, which were numbered `after` some number and up to `last`.
    pub(crate) fn note_reports(&self, me: OriginIndex, after: u64, last: u64) {
        let count = u32::try_from(last - after).unwrap_or(u32::MAX);
        if count > 0 {
            let mut ring = self.0.borrow_mut();
            ring.push(What::Reported, me, after + 1, count);
        }
    }

    /// Notes what became of an update of a neighbour.
    pub(crate) fn note_received(
        &self,
        from: LinkIndex,
        merge: Merge,
        origin: OriginIndex,
        sequence: u64,
    ) {
        let fate = match merge {
            Merge::Newest(_) => Fate::Spread,
            Merge::Held(_) => Fate::Held,
            Merge::Older(_) => Fate::Older,
        };
        self.note(What::Received { from, fate }, origin, sequence);
    }

    pub(crate) fn reach(&self) -> Reach {
        let ring = self.0.borrow();
        Reach {
            limit: ring.limit,
            count: ring.records.len(),
            overwritten_count: ring.overwritten_count,
            oldest_at_ns: ring.in_order().next().map(|record| record.at_ns),
        }
    }

    /// What happened to an update, in the order in which it did, and what links did meanwhile.
    /// `me`: this run.
    pub(crate) fn of(&self, origin: OriginIndex, sequence: u64, me: OriginIndex) -> Vec<Event> {
        let ring = self.0.borrow();
        let (mut events, mut unflushed, mut keepers) =
            (Vec::<Event>::new(), [false; 2], Vec::new());
        let mut is_known = false;
        for record in ring.in_order() {
            let what = record.code.what();
            let is_kept = origin == me && record.origin == me && record.last() >= sequence;
            let is_wanted = match what {
                What::LinkUp(link) | What::LinkDown(link) => {
                    // Before there is an update, only whether there is a link matters.
                    events.retain(|event| is_known || event.what.link_change() != Some(link));
                    true
                }
                What::Flushed(file) => std::mem::take(&mut unflushed[file as usize]),
                // The first that reaches so far is the one that told.
                What::KeptBy(_) | What::Acknowledged => {
                    let is_first = is_kept && !keepers.contains(&what);
                    keepers.extend(is_first.then_some(what));
                    is_first
                }
                _ => {
                    let is_own = record.is_of(origin, sequence);
                    is_known |= is_own;
                    is_own
                }
            };
            if !is_wanted {
                continue;
            }
            if let What::Written(file) = what {
                unflushed[file as usize] = true;
            }
            events.push(Event {
                at_ns: record.at_ns,
                what,
            });
            if events.len() == MAX_EVENTS {
                break;
            }
        }
        events
    }
}

impl Ring {
    #[inline]
    fn push(&mut self, what: What, origin: OriginIndex, first: u64, count: u32) {
        let code = Code::new(what);
        if self.run == Some((code, origin, first))
            && let Some(record) = self.records.get_mut(self.newest)
            && let Some(sum) = record.count.checked_add(count)
        {
            record.count = sum;
        } else if self.limit > 0 {
            self.push_record(Record {
                at_ns: self.now_ns,
                first,
                code,
                origin,
                count,
            });
        }
        self.run = Some((code, origin, first + u64::from(count)));
    }

    fn push_record(&mut self, record: Record) {
        if self.records.len() < self.limit {
            self.newest = self.records.len();
            self.records.push(record);
            return;
        }
        self.newest = self.next;
        self.records[self.next] = record;
        self.overwritten_count += 1;
        self.next = if self.next + 1 == self.limit {
            0
        } else {
            self.next + 1
        };
    }

    fn in_order(&self) -> impl Iterator<Item = &Record> {
        let (newest, oldest) = self.records.split_at(self.next);
        oldest.iter().chain(newest)
    }

    fn set_limit(&mut self, limit: usize) {
        if limit != self.limit {
            let lost_count = self.records.len().saturating_sub(limit);
            self.records = self.in_order().skip(lost_count).copied().collect();
            self.overwritten_count += lost_count as u64;
            (self.limit, self.next, self.run) = (limit, 0, None);
        }
    }
}

/// Where a drain notes what it takes.
#[derive(Clone, Copy)]
pub(crate) struct Noted<'a> {
    pub(crate) history: &'a History,
    /// What happens to what is taken.
    pub(crate) taken: What,
}

impl Noted<'_> {
    /// These were taken.
    pub(crate) fn batch(self, batch: &[u32], entries: &Entries) {
        let mut ring = self.history.0.borrow_mut();
        if ring.limit == 0 {
            return;
        }
        for place in batch {
            let entry = entries.get(ClientIndex(*place));
            ring.push(self.taken, entry.origin(), entry.sequence(), 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: OriginIndex = OriginIndex(0);
    const OTHER: OriginIndex = OriginIndex(1);
    const LINK: LinkIndex = LinkIndex(3);

    /// A history of so many records, to which `(at_ns, what, origin, sequence)` happened.
    fn history(limit: usize, noted: &[(u64, What, OriginIndex, u64)]) -> History {
        let history = History::new(limit);
        for (at_ns, what, origin, sequence) in noted {
            history.set_now(*at_ns);
            history.note(*what, *origin, *sequence);
        }
        history
    }

    /// The times of what is told of an update.
    fn times(history: &History, origin: OriginIndex, sequence: u64) -> Vec<u64> {
        let events = history.of(origin, sequence, ME).into_iter();
        events.map(|event| event.at_ns).collect()
    }

    #[test]
    fn the_newest_takes_the_place_of_the_oldest() {
        for limit in 1..5_u64 {
            let history = History::new(limit as usize);
            for at_ns in 1..=20 {
                history.set_now(at_ns);
                history.note(What::Sent(LINK), OTHER, 7);
                let oldest = at_ns.saturating_sub(limit - 1).max(1);
                assert_eq!(times(&history, OTHER, 7), Vec::from_iter(oldest..=at_ns));
                let expected = Reach {
                    limit: limit as usize,
                    count: at_ns.min(limit) as usize,
                    overwritten_count: at_ns.saturating_sub(limit),
                    oldest_at_ns: Some(oldest),
                };
                assert_eq!(history.reach(), expected);
            }
        }
    }

    #[test]
    fn nothing_is_noted_where_nothing_may_be() {
        let history = history(0, &[(1, What::Reported, ME, 1)]);
        history.note_reports(ME, 1, 9);
        assert_eq!(history.reach(), Reach::default());
        assert!(history.of(ME, 1, ME).is_empty());
    }

    #[test]
    fn what_happens_to_a_run_of_numbers_takes_one_record() {
        let sent = |sequence| (5, What::Sent(LINK), OTHER, sequence);
        let noted = history(16, &[sent(7), sent(8), sent(9), sent(11), sent(10)]);
        assert_eq!(noted.reach().count, 3);
        for (sequence, expected) in [(6, 0), (7, 1), (8, 1), (9, 1), (10, 1), (11, 1), (12, 0)] {
            assert_eq!(times(&noted, OTHER, sequence).len(), expected, "{sequence}");
            assert_eq!(times(&noted, ME, sequence).len(), 0, "{sequence}");
        }
        noted.note_reports(ME, 4, 68);
        noted.note_reports(ME, 68, 68);
        assert_eq!(noted.reach().count, 4);
        assert_eq!(times(&noted, ME, 4), []);
        assert_eq!(times(&noted, ME, 5), [5]);
        assert_eq!(times(&noted, ME, 68), [5]);
        assert_eq!(times(&noted, ME, 69), []);
    }

    #[test]
    fn what_is_noted_is_what_is_told() {
        let (from, file) = (LINK, JournalFile::Next);
        let received = |fate| What::Received { from, fate };
        for what in [
            What::Reported,
            received(Fate::Spread),
            received(Fate::Held),
            received(Fate::Older),
            What::Sent(LINK),
            What::Suppressed(LINK),
            What::Written(file),
            What::Written(JournalFile::Current),
            What::Flushed(file),
            What::Flushed(JournalFile::Current),
            What::KeptBy(LINK),
            What::Acknowledged,
            What::LinkUp(LINK),
            What::LinkDown(LinkIndex(1023)),
        ] {
            assert_eq!(Code::new(what).what(), what);
        }
    }

    #[test]
    fn another_time_link_origin_or_event_takes_another_record() {
        let first = (5, What::Sent(LINK), OTHER, 7);
        for second in [
            (6, What::Sent(LINK), OTHER, 8),
            (5, What::Sent(LinkIndex(4)), OTHER, 8),
            (5, What::Sent(LINK), ME, 8),
            (5, What::Suppressed(LINK), OTHER, 8),
        ] {
            assert_eq!(history(16, &[first, second]).reach().count, 2, "{second:?}");
        }
    }

    #[test]
    fn runs_of_numbers_go_on_where_the_ring_begins_again() {
        let history = history(2, &[(1, What::Reported, ME, 1), (2, What::Reported, ME, 2)]);
        for sequence in 3..6 {
            history.set_now(3);
            history.note(What::Reported, ME, sequence);
        }
        assert_eq!(times(&history, ME, 5), [3]);
        assert_eq!(times(&history, ME, 2), [2]);
        assert_eq!(history.reach().overwritten_count, 1);
        for sequence in 6..9 {
            history.set_now(4);
            history.note(What::Reported, ME, sequence);
        }
        assert_eq!(times(&history, ME, 5), [3]);
        assert_eq!(times(&history, ME, 8), [4]);
        assert_eq!(history.reach().overwritten_count, 2);
    }

    #[test]
    fn a_flush_is_of_what_was_written_before_it() {
        use JournalFile::{Current, Next};
        let flushed = |at_ns, file| (at_ns, What::Flushed(file), ME, 0);
        let history = history(
            16,
            &[
                flushed(1, Current),
                (2, What::Written(Current), OTHER, 7),
                flushed(3, Next),
                flushed(4, Current),
                flushed(5, Current),
            ],
        );
        assert_eq!(times(&history, OTHER, 7), [2, 4]);
        assert_eq!(times(&history, OTHER, 8), []);
    }

    #[test]
    fn the_first_word_that_reaches_an_own_update_is_told() {
        let history = history(
            16,
            &[
                (1, What::KeptBy(LINK), ME, 6),
                (2, What::KeptBy(LINK), ME, 9),
                (3, What::KeptBy(LinkIndex(4)), ME, 7),
                (4, What::Acknowledged, ME, 8),
                (5, What::Acknowledged, ME, 9),
            ],
        );
        assert_eq!(times(&history, ME, 7), [2, 3, 4]);
        assert_eq!(times(&history, ME, 9), [2, 5]);
        assert_eq!(times(&history, OTHER, 7), []);
    }

    #[test]
    fn of_links_the_last_change_before_and_all_since_are_told() {
        let up = |at_ns, link| (at_ns, What::LinkUp(LinkIndex(link)), ME, 0);
        let down = |at_ns, link| (at_ns, What::LinkDown(LinkIndex(link)), ME, 0);
        let mut noted: Vec<_> = (1..1000).map(|at_ns| up(at_ns, 1)).collect();
        noted.extend([up(1000, 2), down(1001, 1), (1002, What::Reported, ME, 7)]);
        noted.extend([up(1003, 1), down(1004, 1)]);
        let history = history(2000, &noted);
        assert_eq!(times(&history, ME, 7), [1000, 1001, 1002, 1003, 1004]);
    }

    #[test]
    fn another_limit_keeps_the_newest() {
        let all: Vec<_> = (1..=5).map(|at| (at, What::Sent(LINK), ME, 7)).collect();
        for noted in [4, 5, 8] {
            let history = history(noted, &all);
            history.set_limit(3);
            assert_eq!(times(&history, ME, 7), [3, 4, 5]);
            history.set_now(6);
            history.note(What::Sent(LINK), ME, 7);
            assert_eq!(times(&history, ME, 7), [4, 5, 6]);
            history.set_limit(5);
            history.set_now(7);
            history.note(What::Sent(LINK), ME, 7);
            assert_eq!(times(&history, ME, 7), [4, 5, 6, 7]);
            history.set_limit(0);
            assert_eq!(times(&history, ME, 7), []);
        }
    }
}
