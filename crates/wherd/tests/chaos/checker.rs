//! Whether a history is one that a herd may have, which keeps what it promises.
//!
//! The rules, each with tests below that break it by hand:
//!
//! - **Nothing is made up.** Every AT line that is told is of a report that somebody sent to the
//!   server that it names, and the same bytes that its client was told, if it was told any.
//! - **Who was answered is seen.** What a server acknowledged or told once, it tells from then on,
//!   or something newer, as long as it runs. That has read-your-writes on one connection and
//!   monotonic reads in it.
//! - **Nothing acknowledged is lost.** When the herd has healed, every acknowledged report is on
//!   every server, or one that precedes it.
//! - **All agree.** When the herd has healed, all servers tell the same bytes of every client.
//!
//! "Newer" is the herd's precedence: the time that the client told, then the server's name, then
//! the order in which that server heard them. The last is only known of reports that were not in
//! flight at once; where it is not known either may win.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::history::{Exchange, Finals, Run, shown};

/// Clients whose ID begins so have clocks that run ahead, and the herd orders their reports by its
/// own clock: in an order that a history does not tell.
pub(crate) const FUTURE: &[u8] = b"future";

/// What is told of at most, of each kind of fault.
const MAX_TOLD: usize = 10;

/// What acknowledgements survive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Promise {
    /// Runs whose acknowledgements need not have survived: with reports kept in memory, those that
    /// were killed.
    pub(crate) excused: BTreeSet<Run>,
    /// When servers may have had a reason to refuse reports.
    pub(crate) troubled: Vec<(&'static str, Duration, Duration)>,
}

/// What a history had in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Lines that clients sent.
    pub(crate) lines: u64,
    /// Of these, valid or not, those that were never answered.
    pub(crate) unanswered: u64,
    /// Reports that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Acknowledged reports that were looked for on every server.
    pub(crate) checked: u64,
    /// Acknowledged reports that [`Promise::excused`] left out.
    pub(crate) excused: u64,
    /// Acknowledged reports that were not found, nor one that precedes them.
    pub(crate) lost: u64,
    /// Reports that a server refused.
    pub(crate) refused: u64,
    /// Answers with a position that were checked.
    pub(crate) reads: u64,
}

/// What the checker keeps from one page of a history to the next.
#[derive(Default)]
pub(crate) struct Checker {
    /// What all servers told of each client at the end of the last page.
    baseline: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Reports that were not answered: they may come to light at any time.
    pending: Vec<Exchange>,
}

impl Checker {
    /// Checks a page of the history and what all servers told at its end; what was wrong.
    pub(crate) fn check(
        &mut self,
        exchanges: Vec<Exchange>,
        finals: &Finals,
        promise: &Promise,
    ) -> (Counts, Vec<String>) {
        let mut page = Page::new(&self.pending, &exchanges, &self.baseline);
        for exchange in &exchanges {
            page.check_answer(exchange, promise);
        }
        page.check_runs();
        page.check_finals(finals, promise);
        let (counts, faults) = (page.counts, page.faults);
        let is_pending = |e: &Exchange| e.answer.is_none() && e.line.starts_with(b"IAMAT ");
        self.pending = exchanges.into_iter().filter(is_pending).collect();
        self.baseline = finals.values().next().cloned().unwrap_or_default();
        (counts, faults)
    }

    /// The clients that the herd should know, whether it does or not.
    pub(crate) fn clients(&self, exchanges: &[Exchange]) -> BTreeSet<Vec<u8>> {
        let reported = exchanges.iter().filter_map(|exchange| {
            let (client, _) = parse_report(&exchange.line)?;
            Some(client.to_vec())
        });
        reported.chain(self.baseline.keys().cloned()).collect()
    }
}

/// The client of a valid IAMAT line, and the time in nanoseconds.
fn parse_report(line: &[u8]) -> Option<(&[u8], i128)> {
    match wherd_proto::Request::parse(line).ok()? {
        wherd_proto::Request::IAmAt(report) => {
            let mut fields = line
                .split(u8::is_ascii_whitespace)
                .filter(|f| !f.is_empty());
            Some((report.client, nanoseconds(fields.nth(3)?)?))
        }
        _ => None,
    }
}

/// A time as the load writes it: digits, and up to nine behind a point.
fn nanoseconds(text: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<9}").parse().ok()
}

/// What somebody may be told of a client: a report, by one who sent it, and its place in the
/// precedence.
#[derive(Clone, Copy, Debug)]
struct Value<'a> {
    time_ns: i128,
    server: &'a [u8],
    operands: &'a [u8],
    /// `None` where it was there before the page began.
    report: Option<&'a Exchange>,
}

impl Value<'_> {
    /// Which precedes; `None` where the history does not tell.
    fn order(&self, other: &Self) -> Option<Ordering> {
        if self.operands == other.operands {
            return Some(Ordering::Equal);
        }
        if self.operands.starts_with(FUTURE) {
            return None;
        }
        let ordered = (self.time_ns, self.server).cmp(&(other.time_ns, other.server));
        if ordered != Ordering::Equal {
            return Some(ordered);
        }
        match (self.report, other.report) {
            (Some(a), Some(b)) => heard_order(a, b),
            (None, Some(_)) => Some(Ordering::Less),
            (Some(_), None) => Some(Ordering::Greater),
            (None, None) => None,
        }
    }

    fn is_less(&self, other: &Self) -> bool {
        self.order(other) == Some(Ordering::Less)
    }
}

/// In which order one server heard two lines.
fn heard_order(a: &Exchange, b: &Exchange) -> Option<Ordering> {
    if a.run != b.run {
        // A server's later run has the larger number, here and in the herd.
        return Some(a.run.number.cmp(&b.run.number));
    }
    if a.connection == b.connection {
        return Some(a.index.cmp(&b.index));
    }
    if is_before(a, b) {
        Some(Ordering::Less)
    } else if is_before(b, a) {
        Some(Ordering::Greater)
    } else {
        None
    }
}

/// Whether one was answered before the other was sent.
fn is_before(a: &Exchange, b: &Exchange) -> bool {
    a.answer.as_ref().is_some_and(|(at, _)| *at < b.sent_at)
}

/// Values none of which is known to precede another: the newest that were seen.
#[derive(Default)]
struct Newest<'a>(Vec<(Value<'a>, &'a Exchange)>);

impl<'a> Newest<'a> {
    fn add(&mut self, value: Value<'a>, seen_in: &'a Exchange) {
        let covers = |(other, _): &(Value<'a>, _)| {
            matches!(
                other.order(&value),
                Some(Ordering::Equal | Ordering::Greater)
            )
        };
        if !self.0.iter().any(covers) {
            self.0.retain(|(other, _)| !other.is_less(&value));
            self.0.push((value, seen_in));
        }
    }

    /// One that precedes `value`, and where it was seen.
    fn above(&self, value: Option<Value<'_>>) -> Option<&'a Exchange> {
        let is_above = |(newest, _): &&(Value<'a>, _)| value.is_none_or(|v| v.is_less(newest));
        self.0.iter().find(is_above).map(|(_, seen_in)| *seen_in)
    }
}

/// A line, and what its answer told.
type Seen<'a> = (&'a Exchange, Option<Value<'a>>);

/// A page of the history, and what is found out about it.
struct Page<'a> {
    /// The reports that somebody sent, by what they said: client, position and time.
    reports: HashMap<&'a [u8], &'a Exchange>,
    /// What the herd knew before.
    baseline: HashMap<&'a [u8], &'a [u8]>,
    /// How each report was told first: every other time it is told the same.
    told: HashMap<&'a [u8], &'a [u8]>,
    /// What each run was seen to have, by client: acknowledgements and answers.
    seen: BTreeMap<(Run, &'a [u8]), Vec<Seen<'a>>>,
    counts: Counts,
    faults: Vec<String>,
    told_of: BTreeMap<&'static str, usize>,
}

impl<'a> Page<'a> {
    fn new(
        pending: &'a [Exchange],
        exchanges: &'a [Exchange],
        baseline: &'a BTreeMap<Vec<u8>, Vec<u8>>,
    ) -> Self {
        let mut page = Self {
            reports: HashMap::new(),
            baseline: HashMap::new(),
            told: HashMap::new(),
            seen: BTreeMap::new(),
            counts: Counts::default(),
            faults: Vec::new(),
            told_of: BTreeMap::new(),
        };
        for at_line in baseline.values() {
            if let Some((_, operands)) = split_at_line(at_line) {
                page.baseline.insert(operands, at_line);
                page.told.insert(operands, at_line);
            }
        }
        for exchange in pending.iter().chain(exchanges) {
            if parse_report(&exchange.line).is_some() {
                let operands = &exchange.line[b"IAMAT ".len()..];
                let twin = page.reports.insert(operands, exchange);
                assert!(
                    twin.is_none(),
                    "two reports that cannot be told apart: {exchange}"
                );
            }
        }
        // Reports whose client was told something, before others are told of them.
        for exchange in exchanges {
            if let Some((_, answer)) = &exchange.answer
                && parse_report(&exchange.line).is_some()
                && split_at_line(answer).is_some()
            {
                page.told.insert(&exchange.line[b"IAMAT ".len()..], answer);
            }
        }
        page
    }

    fn fault(&mut self, kind: &'static str, what: String) {
        let count = self.told_of.entry(kind).or_default();
        *count += 1;
        match (*count).cmp(&(MAX_TOLD + 1)) {
            Ordering::Less => self.faults.push(format!("{kind}: {what}")),
            Ordering::Equal => self.faults.push(format!("{kind}: … and more")),
            Ordering::Greater => {}
        }
    }

    /// Whether the answer is one to this line.
    fn check_answer(&mut self, exchange: &'a Exchange, promise: &Promise) {
        self.counts.lines += 1;
        let Some((_, answer)) = &exchange.answer else {
            self.counts.unanswered += 1;
            return;
        };
        let is_refusal = answer.strip_prefix(b"? ").is_some_and(|echo| {
            let limit = exchange.line.len().min(8_192);
            echo == &exchange.line[..limit]
        });
        match wherd_proto::Request::parse(&exchange.line) {
            Ok(wherd_proto::Request::IAmAt(report)) => {
                if is_refusal {
                    self.check_refusal(exchange, promise);
                    return;
                }
                let operands = &exchange.line[b"IAMAT ".len()..];
                if split_at_line(answer) != Some((exchange.run.server.as_bytes(), operands)) {
                    self.fault("wrong answer", exchange.to_string());
                    return;
                }
                self.counts.acknowledged += 1;
                let value = self.value(answer, exchange);
                self.see(exchange, report.client, value);
            }
            Ok(wherd_proto::Request::WhatsAt(question)) => {
                if is_refusal {
                    self.see(exchange, question.client, None);
                    return;
                }
                self.counts.reads += 1;
                if client_of(answer) != Some(question.client) {
                    self.fault("wrong answer", exchange.to_string());
                    return;
                }
                if let Some(value) = self.value(answer, exchange) {
                    self.see(exchange, question.client, Some(value));
                }
            }
            // The load has none of these.
            Ok(_) => self.fault("wrong question", exchange.to_string()),
            Err(_) if !is_refusal => self.fault("wrong answer", exchange.to_string()),
            Err(_) => {}
        }
    }

    fn check_refusal(&mut self, exchange: &Exchange, promise: &Promise) {
        self.counts.refused += 1;
        let heard_at = exchange.answer.as_ref().map_or(exchange.sent_at, |a| a.0);
        let is_troubled = promise.troubled.iter().any(|(server, from, to)| {
            *server == exchange.run.server && *from <= heard_at && exchange.sent_at <= *to
        });
        if !is_troubled {
            self.fault("refused without a reason", exchange.to_string());
        }
    }

    fn see(&mut self, exchange: &'a Exchange, client: &'a [u8], value: Option<Value<'a>>) {
        let seen = self.seen.entry((exchange.run, client)).or_default();
        seen.push((exchange, value));
    }

    /// What an AT line tells, if somebody said it.
    fn value(&mut self, at_line: &'a [u8], told_in: &Exchange) -> Option<Value<'a>> {
        let before = told_in.answer.as_ref().map(|(at, _)| *at);
        match self.find(at_line, before) {
            Ok(value) => Some(value),
            Err(why) => {
                self.fault("made up", format!("{why}: {told_in}"));
                None
            }
        }
    }

    fn find(&mut self, at_line: &'a [u8], before: Option<Duration>) -> Result<Value<'a>, String> {
        let Some((server, operands)) = split_at_line(at_line) else {
            return Err("no AT line".to_owned());
        };
        let report = self.reports.get(operands).copied();
        if report.is_none() && !self.baseline.contains_key(operands) {
            return Err("nobody said this".to_owned());
        }
        if let Some(report) = report {
            if report.run.server.as_bytes() != server {
                return Err(format!("said to another server ({report})"));
            }
            if before.is_some_and(|before| before < report.sent_at) {
                return Err(format!("told before it was said ({report})"));
            }
        }
        let first = *self.told.entry(operands).or_insert(at_line);
        if first != at_line {
            return Err(format!("told otherwise before ({})", shown(first)));
        }
        let time = operands.rsplit(|byte| *byte == b' ').next();
        let time_ns = time.and_then(nanoseconds).ok_or("no time")?;
        Ok(Value {
            time_ns,
            server,
            operands,
            report,
        })
    }

    /// Whether every run told what it had, or newer, each time that it was asked.
    fn check_runs(&mut self) {
        for ((run, client), seen) in std::mem::take(&mut self.seen) {
            if client.starts_with(FUTURE) {
                continue;
            }
            self.check_real_time(run, &seen);
            self.check_connections(run, seen);
        }
    }

    /// What was answered before a question was asked precedes its answer, or is it.
    fn check_real_time(&mut self, run: Run, seen: &[Seen<'a>]) {
        let answered_at = |exchange: &Exchange| exchange.answer.as_ref().map(|answer| answer.0);
        let mut by_answer: Vec<_> = seen.iter().collect();
        by_answer.sort_by_key(|(exchange, _)| answered_at(exchange));
        let mut by_question: Vec<_> = seen.iter().filter(|(e, _)| is_question(e)).collect();
        by_question.sort_by_key(|(exchange, _)| exchange.sent_at);
        let mut newest = Newest::default();
        let mut known = by_answer.into_iter().peekable();
        for (question, value) in by_question {
            while let Some((earlier, value)) = known.next_if(|(e, _)| is_before(e, question)) {
                if let Some(value) = value {
                    newest.add(*value, earlier);
                }
            }
            if let Some(earlier) = newest.above(*value) {
                self.fault(
                    "stale read",
                    format!("{run}: {question}\n  after {earlier}"),
                );
            }
        }
    }

    /// On one connection the order of the lines is enough, however many were in flight.
    fn check_connections(&mut self, run: Run, mut seen: Vec<Seen<'a>>) {
        seen.sort_by_key(|(exchange, _)| (exchange.connection, exchange.index));
        for lines in seen.chunk_by(|(a, _), (b, _)| a.connection == b.connection) {
            let mut newest = Newest::default();
            for (exchange, value) in lines {
                if is_question(exchange)
                    && let Some(earlier) = newest.above(*value)
                {
                    let what = format!("{run}: {exchange}\n  after {earlier}");
                    self.fault("stale read on one connection", what);
                }
                if let Some(value) = value {
                    newest.add(*value, exchange);
                }
            }
        }
    }

    /// Whether all servers tell the same of everybody, and nothing that was acknowledged is lost.
    fn check_finals(&mut self, finals: &'a Finals, promise: &Promise) {
        let clients: BTreeSet<&'a [u8]> = finals
            .values()
            .flat_map(|of_server| of_server.keys().map(Vec::as_slice))
            .collect();
        for client in &clients {
            self.check_agreement(client, finals);
        }
        let mut newest: HashMap<&'a [u8], Value<'a>> = HashMap::new();
        for client in clients {
            let told = finals.values().find_map(|of_server| of_server.get(client));
            match told.map(|at_line| self.find(at_line, None)) {
                Some(Ok(value)) if client_of(value_line(told)) == Some(client) => {
                    newest.insert(client, value);
                }
                Some(Err(why)) => self.fault("made up", format!("{why}: {}", all(client, finals))),
                _ => self.fault("made up", all(client, finals)),
            }
        }
        self.check_acknowledged(&newest, finals, promise);
    }

    fn check_agreement(&mut self, client: &[u8], finals: &Finals) {
        let told: BTreeSet<_> = finals.values().map(|told| told.get(client)).collect();
        if told.len() > 1 {
            self.fault("servers differ", all(client, finals));
        }
    }

    fn check_acknowledged(
        &mut self,
        newest: &HashMap<&'a [u8], Value<'a>>,
        finals: &Finals,
        promise: &Promise,
    ) {
        let baseline: Vec<&'a [u8]> = self.baseline.values().copied().collect();
        for at_line in baseline {
            let Some(client) = client_of(at_line) else {
                continue;
            };
            if let Ok(value) = self.find(at_line, None)
                && newest.get(client).is_none_or(|told| told.is_less(&value))
            {
                self.counts.lost += 1;
                let what = format!(
                    "{}, which all had\n  {}",
                    shown(at_line),
                    all(client, finals)
                );
                self.fault("lost", what);
            }
        }
        for report in std::mem::take(&mut self.reports).into_values() {
            let Some((_, answer)) = &report.answer else {
                continue;
            };
            let Some((server, operands)) = split_at_line(answer) else {
                continue;
            };
            if promise.excused.contains(&report.run) {
                self.counts.excused += 1;
                continue;
            }
            self.counts.checked += 1;
            let Some((client, time_ns)) = parse_report(&report.line) else {
                continue;
            };
            let value = Value {
                time_ns,
                server,
                operands,
                report: Some(report),
            };
            if newest.get(client).is_none_or(|told| told.is_less(&value)) {
                self.counts.lost += 1;
                self.fault("lost", format!("{report}\n  {}", all(client, finals)));
            }
        }
    }
}

fn is_question(exchange: &Exchange) -> bool {
    exchange.line.starts_with(b"WHATSAT ")
}

fn value_line(told: Option<&Vec<u8>>) -> &[u8] {
    told.map_or(b"", Vec::as_slice)
}

/// What all servers tell of a client.
fn all(client: &[u8], finals: &Finals) -> String {
    let told = finals.iter().map(|(server, told)| {
        let line = told
            .get(client)
            .map_or("nothing".to_owned(), |line| shown(line));
        format!("{server} tells {line}")
    });
    told.collect::<Vec<_>>().join("\n  ")
}

/// The server that an AT line names, and the operands: client, position and time.
fn split_at_line(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let is_at = fields.next() == Some(b"AT");
    let (server, _skew, operands) = (fields.next()?, fields.next()?, fields.next()?);
    is_at.then_some((server, operands))
}

fn client_of(at_line: &[u8]) -> Option<&[u8]> {
    let (_, operands) = split_at_line(at_line)?;
    operands.split(|byte| *byte == b' ').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A history by hand: time goes on by a millisecond with each thing that happens.
    struct Story {
        at: Duration,
        exchanges: Vec<Exchange>,
        finals: Finals,
        promise: Promise,
    }

    const HILL: Run = Run {
        server: "Hill",
        number: 1,
    };
    const SMITH: Run = Run {
        server: "Smith",
        number: 1,
    };

    fn story() -> Story {
        Story {
            at: Duration::ZERO,
            exchanges: Vec::new(),
            finals: Finals::new(),
            promise: Promise::default(),
        }
    }

    impl Story {
        fn later(&mut self) -> Duration {
            self.at += Duration::from_millis(1);
            self.at
        }

        /// Sends a line on a connection to a server.
        fn sent(mut self, run: Run, connection: u32, line: &str) -> Self {
            let sent_at = self.later();
            let index = self.exchanges.len() as u32;
            self.exchanges.push(Exchange {
                run,
                connection,
                index,
                sent_at,
                line: line.into(),
                answer: None,
            });
            self
        }

        /// Answers the last line that this connection sent and that is not answered.
        fn answered(mut self, connection: u32, answer: &str) -> Self {
            let at = self.later();
            let mut waiting = self.exchanges.iter_mut().filter(|e| e.answer.is_none());
            let exchange = waiting
                .find(|e| e.connection == connection)
                .expect("a line");
            exchange.answer = Some((at, answer.into()));
            self
        }

        /// A report of `a` with this time, on connection 1, acknowledged.
        fn said(self, run: Run, time: u32) -> Self {
            self.sent(run, 1, &format!("IAMAT a +1-1 {time}"))
                .answered(1, &at(run, time))
        }

        /// A question about `a`, on this connection, and what was told.
        fn asked(self, run: Run, connection: u32, told: &str) -> Self {
            self.sent(run, connection, "WHATSAT a 0 0")
                .answered(connection, told)
        }

        /// What both servers tell in the end of `a`.
        fn ends(self, hill: &str, smith: &str) -> Self {
            self.ends_with("a", hill, smith)
        }

        fn ends_with(mut self, client: &str, hill: &str, smith: &str) -> Self {
            for (server, told) in [("Hill", hill), ("Smith", smith)] {
                let of_server = self.finals.entry(server).or_default();
                if !told.is_empty() {
                    of_server.insert(client.into(), told.into());
                }
            }
            self
        }

        /// It has faults of these kinds and no others.
        fn check(self, kinds: &[&str]) -> Counts {
            let mut checker = Checker::default();
            let (counts, faults) = checker.check(self.exchanges, &self.finals, &self.promise);
            let found: Vec<_> = faults.iter().filter_map(|f| f.split(": ").next()).collect();
            assert_eq!(found, kinds, "{faults:#?}");
            counts
        }
    }

    /// The AT line of a report of `a`.
    fn at(run: Run, time: u32) -> String {
        format!("AT {} +0.100000000 a +1-1 {time}", run.server)
    }

    #[test]
    fn a_good_history_is_good() {
        let told = at(HILL, 7);
        let counts = story()
            .said(HILL, 5)
            .asked(HILL, 1, &at(HILL, 5))
            .asked(SMITH, 2, "? WHATSAT a 0 0")
            .said(HILL, 7)
            .sent(HILL, 1, "IAMAT a +1-1 6")
            .answered(1, "AT Hill +0.2 a +1-1 6")
            .asked(HILL, 3, &told)
            .sent(HILL, 3, "IAMAT a")
            .answered(3, "? IAMAT a")
            .sent(HILL, 4, "IAMAT a +1-1 4")
            .ends(&told, &told)
            .check(&[]);
        let expected = Counts {
            lines: 8,
            unanswered: 1,
            acknowledged: 3,
            checked: 3,
            reads: 2,
            ..Counts::default()
        };
        assert_eq!(counts, expected);
    }

    #[test]
    fn a_lost_report_is_found() {
        let counts = story().said(HILL, 5).ends("", "").check(&["lost"]);
        assert_eq!((counts.checked, counts.lost), (1, 1));
        let older = at(HILL, 5);
        story()
            .said(HILL, 5)
            .said(HILL, 6)
            .ends(&older, &older)
            .check(&["lost"]);
    }

    #[test]
    fn a_report_that_was_killed_with_its_memory_is_excused() {
        let mut story = story()
            .said(HILL, 5)
            .said(SMITH, 4)
            .ends(&at(SMITH, 4), &at(SMITH, 4));
        story.promise.excused.insert(HILL);
        let counts = story.check(&[]);
        assert_eq!((counts.checked, counts.excused), (1, 1));
    }

    #[test]
    fn what_all_had_is_kept() {
        let mut checker = Checker::default();
        let mut first = story().said(HILL, 5).ends(&at(HILL, 5), &at(HILL, 5));
        let exchanges = std::mem::take(&mut first.exchanges);
        let (_, faults) = checker.check(exchanges, &first.finals, &first.promise);
        assert!(faults.is_empty(), "{faults:?}");
        let again = story().asked(HILL, 1, &at(HILL, 5)).ends("", "");
        let (counts, faults) = checker.check(again.exchanges, &again.finals, &again.promise);
        assert_eq!(counts.lost, 1, "{faults:?}");
        assert!(faults[0].contains("which all had"), "{faults:?}");
    }

    #[test]
    fn a_report_that_was_never_answered_may_come_to_light_and_may_not() {
        for told in [at(HILL, 5), at(HILL, 6)] {
            story()
                .said(HILL, 5)
                .sent(HILL, 1, "IAMAT a +1-1 6")
                .asked(SMITH, 2, &told)
                .ends(&told, &told)
                .check(&[]);
        }
        let mut checker = Checker::default();
        let first = story().sent(HILL, 1, "IAMAT a +1-1 6").ends("", "");
        let (_, faults) = checker.check(first.exchanges, &first.finals, &first.promise);
        assert!(faults.is_empty(), "{faults:?}");
        let late = story()
            .asked(SMITH, 2, &at(HILL, 6))
            .ends(&at(HILL, 6), &at(HILL, 6));
        let (_, faults) = checker.check(late.exchanges, &late.finals, &late.promise);
        assert!(faults.is_empty(), "{faults:?}");
    }

    #[test]
    fn a_read_that_misses_an_own_write_is_found() {
        let told = at(HILL, 6);
        // In one piece: the question was sent before the report was answered.
        story()
            .said(HILL, 5)
            .sent(HILL, 1, "IAMAT a +1-1 6")
            .sent(HILL, 1, "WHATSAT a 0 0")
            .answered(1, &told)
            .answered(1, &at(HILL, 5))
            .ends(&told, &told)
            .check(&["stale read on one connection"]);
    }

    #[test]
    fn time_travel_within_a_run_is_found() {
        let told = at(HILL, 6);
        story()
            .said(SMITH, 5)
            .said(HILL, 6)
            .asked(SMITH, 2, &told)
            .asked(SMITH, 3, &at(SMITH, 5))
            .ends(&told, &told)
            .check(&["stale read"]);
        story()
            .said(HILL, 6)
            .asked(HILL, 3, "? WHATSAT a 0 0")
            .ends(&told, &told)
            .check(&["stale read"]);
    }

    #[test]
    fn another_run_and_another_server_may_be_behind() {
        let told = at(HILL, 6);
        let again = Run { number: 2, ..SMITH };
        story()
            .said(HILL, 6)
            .asked(SMITH, 2, &told)
            .asked(again, 3, "? WHATSAT a 0 0")
            .ends(&told, &told)
            .check(&[]);
    }

    #[test]
    fn questions_in_flight_at_once_may_be_told_either() {
        let told = at(HILL, 6);
        story()
            .said(HILL, 5)
            .sent(HILL, 1, "IAMAT a +1-1 6")
            .sent(HILL, 2, "WHATSAT a 0 0")
            .sent(HILL, 3, "WHATSAT a 0 0")
            .answered(3, &told)
            .answered(2, &at(HILL, 5))
            .answered(1, &told)
            .ends(&told, &told)
            .check(&[]);
    }

    #[test]
    fn what_nobody_said_is_found() {
        let told = at(HILL, 5);
        let good = |story: Story| story.said(HILL, 5).ends(&told, &told);
        good(story().said(SMITH, 4))
            .asked(HILL, 2, &at(HILL, 99))
            .check(&["made up"]);
        // Said to another server, with another difference of the clocks, and before it was said.
        good(story())
            .asked(HILL, 2, &at(SMITH, 5))
            .check(&["made up"]);
        let skewed = told.replace("+0.1", "+0.2");
        good(story()).asked(HILL, 2, &skewed).check(&["made up"]);
        good(story().asked(HILL, 2, &told)).check(&["made up"]);
        story()
            .said(HILL, 5)
            .ends(&skewed, &skewed)
            .check(&["made up", "lost"]);
    }

    #[test]
    fn healed_servers_that_differ_are_found() {
        let (older, newer) = (at(HILL, 5), at(HILL, 6));
        story()
            .said(HILL, 5)
            .said(HILL, 6)
            .ends(&newer, &older)
            .check(&["servers differ"]);
        story()
            .said(HILL, 6)
            .ends(&newer, "")
            .check(&["servers differ"]);
    }

    #[test]
    fn answers_to_something_else_are_found() {
        let told = at(HILL, 5);
        let good = || story().said(HILL, 5).ends(&told, &told);
        for (line, answer) in [
            ("IAMAT a +1-1 4", "AT Hill +0.1 a +1-1 3"),
            ("IAMAT a +1-1 4", "AT Smith +0.1 a +1-1 4"),
            ("WHATSAT b 0 0", told.as_str()),
            ("WHOIS a", "? WHOIS b"),
            ("WHOIS a", told.as_str()),
        ] {
            good()
                .sent(HILL, 2, line)
                .answered(2, answer)
                .check(&["wrong answer"]);
        }
    }

    #[test]
    fn a_report_may_be_refused_in_trouble_only() {
        let told = at(HILL, 5);
        let refused = || {
            let line = "IAMAT a +1-1 6";
            let story = story().said(HILL, 5).sent(HILL, 1, line);
            story.answered(1, &format!("? {line}")).ends(&told, &told)
        };
        refused().check(&["refused without a reason"]);
        let mut troubled = refused();
        let all = (Duration::ZERO, Duration::MAX);
        troubled.promise.troubled = vec![("Hill", all.0, all.1)];
        assert_eq!(troubled.check(&[]).refused, 1);
    }

    #[test]
    fn of_equal_times_the_larger_name_wins() {
        let (hill, smith) = (at(HILL, 5), "AT Smith +0.100000000 a +2-2 5");
        let both = || {
            let story = story().said(HILL, 5).sent(SMITH, 2, "IAMAT a +2-2 5");
            story.answered(2, smith)
        };
        both().ends(smith, smith).check(&[]);
        both().ends(&hill, &hill).check(&["lost"]);
    }

    #[test]
    fn of_equal_times_to_one_server_the_later_wins_where_there_is_one() {
        let (first, second) = (at(HILL, 5), "AT Hill +0.100000000 a +2-2 5");
        let one_by_one = || {
            let story = story().said(HILL, 5).sent(HILL, 2, "IAMAT a +2-2 5");
            story.answered(2, second)
        };
        one_by_one().ends(second, second).check(&[]);
        one_by_one().ends(&first, &first).check(&["lost"]);
        for told in [&first, second] {
            story()
                .sent(HILL, 1, "IAMAT a +1-1 5")
                .sent(HILL, 2, "IAMAT a +2-2 5")
                .answered(2, second)
                .answered(1, &first)
                .ends(told, told)
                .check(&[]);
        }
    }

    #[test]
    fn clocks_ahead_have_an_order_that_nobody_knows() {
        let line = |time| format!("future +1-1 {time}");
        let at_line = |time| format!("AT Hill -9.000000000 {}", line(time));
        let mut story = story();
        for time in [95, 99] {
            story = story.sent(HILL, 1, &format!("IAMAT {}", line(time)));
            story = story.answered(1, &at_line(time));
        }
        story
            .ends_with("future", &at_line(95), &at_line(95))
            .check(&[]);
    }
}
