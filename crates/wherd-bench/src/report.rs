//! What came of a run.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use serde::Serialize;

use crate::engine::{Options, Outcome, Pace, Tally, Watched, histogram};
use crate::process;
use crate::replies::Findings;
use crate::schedule::Schedule;
use crate::spread::Seen;

/// From this share of its time on a thread is busy all the time.
const BUSY: f64 = 0.95;
/// From this delay on a thread is late: a due line leaves within some tens of microseconds.
const LATE_US: f64 = 1_000.0;

/// What came of a run. Its shape is that of `--json`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What kept lines coming; `None`: there was no load, only markers.
    #[serde(rename = "loop")]
    pub kind: Option<Loop>,
    /// How many clients there were.
    pub client_count: u64,
    /// How long it counted.
    pub measured_s: f64,
    /// Whether somebody ended it.
    pub is_stopped: bool,
    /// Lines that were sent while it counted.
    pub sent_count: u64,
    /// Answers that came while it counted.
    pub answered_count: u64,
    /// The same, for each second.
    pub lines_per_s: f64,
    /// Lines that were due and that no server took in time.
    pub unsent_count: u64,
    /// How long answers took, of all that was said while it counted.
    pub latency: Latency,
    /// The same of IAMAT alone.
    pub iamat: Latency,
    /// The same of WHATSAT alone.
    pub whatsat: Latency,
    /// What was wrong.
    pub wrong: Wrong,
    /// Answers that were compared with what was said.
    pub checked_count: u64,
    /// Server by server.
    pub servers: Vec<ServerReport>,
    /// What the load itself took.
    pub generator: Generator,
    /// How updates spread, where that was asked for.
    pub spread: Option<SpreadReport>,
    /// What the figures are made of: all, of IAMAT, of WHATSAT.
    #[serde(skip)]
    pub histograms: [Histogram<u64>; 3],
}

/// What kept lines coming.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Loop {
    /// An answer made room for the next line.
    Closed {
        /// Connections to all servers together.
        connection_count: usize,
        /// Lines that waited for their answers on each.
        in_flight: u64,
    },
    /// Lines were due at fixed times.
    Open {
        /// Connections to all servers together.
        connection_count: usize,
        /// Lines in a second.
        rate_per_s: u64,
        /// How often lines were due; several at once, where this is longer than their distance.
        due_every_us: f64,
    },
}

/// How long something took, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Latency {
    pub count: u64,
    pub mean_us: f64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
}

/// What was wrong with answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Wrong {
    /// Answers that were `? ` and the line.
    pub refused_count: u64,
    /// Answers, of those that were looked at, that were not to what was said.
    pub mismatched_count: u64,
    /// Connections that a server closed, or that broke.
    pub lost_connection_count: u64,
    /// Lines that had no answer when it was over and some seconds had passed.
    pub unanswered_count: u64,
    /// Markers that did not come to a server.
    pub lost_marker_count: u64,
}

impl Wrong {
    /// Whether there was anything.
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self != Self::default()
    }
}

/// What one server did.
#[derive(Clone, Debug, Serialize)]
pub struct ServerReport {
    /// What it is called.
    pub name: String,
    /// Where clients connect.
    pub address: String,
    /// Its processes, where they are on this machine and may be looked at.
    pub pids: Vec<u32>,
    /// How many cores it used, where that could be seen.
    pub cores: Option<f64>,
    /// Its answers in a second.
    pub lines_per_s: f64,
    /// Processor time for each answer: its own, not what other servers spend on it.
    pub processor_ns_per_line: Option<f64>,
    /// How long its answers took.
    pub latency: Latency,
    /// What was wrong with them.
    pub wrong: Wrong,
}

/// What the load itself took.
#[derive(Clone, Debug, Serialize)]
pub struct Generator {
    /// Of each thread how much of the time it was on a processor, from 0 to 1.
    pub busy: Vec<f64>,
    /// Processor time for each answer.
    pub processor_ns_per_line: f64,
    /// By how much lines left after they were due, for the load's own sake.
    pub late: Latency,
    /// Whether the load kept servers from doing more; then the figures are of the load, not of them.
    pub is_bottleneck: bool,
    /// Why that is so, or what else was at its limit.
    pub note: Option<String>,
}

/// How updates spread.
#[derive(Clone, Debug, Serialize)]
pub struct SpreadReport {
    /// Which server heard the markers.
    pub from: String,
    /// How many markers there were.
    pub marker_count: u64,
    /// How long the answer to the marker took at the server that heard it.
    pub answer: Latency,
    /// How long a question took; figures of servers have one of these in them.
    pub question: Latency,
    /// Every other server.
    pub servers: Vec<SpreadServer>,
}

/// How updates came to one server.
#[derive(Clone, Debug, Serialize)]
pub struct SpreadServer {
    /// What it is called.
    pub name: String,
    /// From the client's sending to its being visible there.
    pub latency: Latency,
    /// Markers that it did not have after five seconds.
    pub lost_count: u64,
    /// Whether it closed the connection.
    pub is_gone: bool,
}

/// What threads brought home.
pub(crate) struct Sums {
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) spread: Option<Seen>,
    pub(crate) watched: Watched,
    pub(crate) is_stopped: bool,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            count: histogram.len(),
            mean_us: histogram.mean() / 1e3,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: histogram.max() as f64 / 1e3,
        }
    }
}

impl Report {
    pub(crate) fn new(options: &Options, sums: Sums) -> Self {
        let outcomes = &sums.outcomes;
        let measured_ns = outcomes.iter().map(|outcome| outcome.measured_ns).max();
        let measured_s = match measured_ns {
            Some(ns) => ns as f64 / 1e9,
            None => sums.watched.elapsed.as_secs_f64(),
        };
        let [mut iamat, mut whatsat] = [histogram(), histogram()];
        let mut all_servers = Vec::new();
        for place in 0..options.targets.len() {
            let tally = sum_of(outcomes.iter().map(|outcome| &outcome.tallies[place]));
            merge(&mut iamat, &tally.latency_ns[0]);
            merge(&mut whatsat, &tally.latency_ns[1]);
            all_servers.push(tally);
        }
        let mut all = iamat.clone();
        merge(&mut all, &whatsat);
        let answered_count = all_servers.iter().map(|tally| tally.answered_count).sum();
        let sent_count = all_servers.iter().map(|tally| tally.sent_count).sum();
        let spread = sums
            .spread
            .as_ref()
            .map(|seen| spread_report(options, seen));
        let servers = all_servers
            .iter()
            .enumerate()
            .map(|(place, tally)| server_report(options, place, tally, &sums.watched, measured_s));
        let servers: Vec<ServerReport> = servers.collect();
        let mut wrong = Wrong::default();
        for server in &servers {
            wrong.add(server.wrong);
        }
        for server in spread.iter().flat_map(|spread| &spread.servers) {
            wrong.lost_marker_count += server.lost_count;
            wrong.lost_connection_count += u64::from(server.is_gone);
        }
        Self {
            kind: kind(options),
            client_count: options.workload.client_count,
            measured_s,
            is_stopped: sums.is_stopped,
            sent_count,
            answered_count,
            lines_per_s: per_second(answered_count, measured_s),
            unsent_count: unsent_count(options, &sums, measured_s, sent_count),
            latency: Latency::of(&all),
            iamat: Latency::of(&iamat),
            whatsat: Latency::of(&whatsat),
            wrong,
            checked_count: all_servers
                .iter()
                .map(|tally| tally.findings.checked_count)
                .sum(),
            generator: generator(&sums, answered_count, &servers),
            servers,
            spread,
            histograms: [all, iamat, whatsat],
        }
    }
}

fn kind(options: &Options) -> Option<Loop> {
    let connection_count = options.connection_count;
    if connection_count == 0 {
        return None;
    }
    Some(match options.pace {
        Pace::Closed { in_flight } => Loop::Closed {
            connection_count,
            in_flight,
        },
        Pace::Open { rate_per_s } => Loop::Open {
            connection_count,
            rate_per_s,
            due_every_us: Schedule::new(rate_per_s).interval_ns() as f64 / 1e3,
        },
    })
}

impl Wrong {
    fn add(&mut self, other: Self) {
        self.refused_count += other.refused_count;
        self.mismatched_count += other.mismatched_count;
        self.lost_connection_count += other.lost_connection_count;
        self.unanswered_count += other.unanswered_count;
        self.lost_marker_count += other.lost_marker_count;
    }
}

fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        count as f64 / seconds
    } else {
        0.0
    }
}

fn merge(into: &mut Histogram<u64>, from: &Histogram<u64>) {
    into.add(from).expect("all have the same bounds");
}

fn sum_of<'a>(tallies: impl Iterator<Item = &'a Tally>) -> Tally {
    let mut sum = Tally {
        latency_ns: [histogram(), histogram()],
        answered_count: 0,
        sent_count: 0,
        findings: Findings::default(),
        lost_count: 0,
        unanswered_count: 0,
    };
    for tally in tallies {
        for (into, from) in sum.latency_ns.iter_mut().zip(&tally.latency_ns) {
            merge(into, from);
        }
        sum.answered_count += tally.answered_count;
        sum.sent_count += tally.sent_count;
        sum.findings.add(tally.findings);
        sum.lost_count += tally.lost_count;
        sum.unanswered_count += tally.unanswered_count;
    }
    sum
}

fn server_report(
    options: &Options,
    place: usize,
    tally: &Tally,
    watched: &Watched,
    measured_s: f64,
) -> ServerReport {
    let (pids, used) = &watched.servers[place];
    let cores = used.map(|used| used.as_secs_f64() / watched.elapsed.as_secs_f64().max(1e-9));
    let lines_per_s = per_second(tally.answered_count, measured_s);
    let mut both = tally.latency_ns[0].clone();
    merge(&mut both, &tally.latency_ns[1]);
    ServerReport {
        name: options.targets[place].name.clone(),
        address: options.targets[place].address.to_string(),
        pids: pids.clone(),
        cores,
        lines_per_s,
        processor_ns_per_line: cores
            .filter(|_| tally.answered_count > 0)
            .map(|cores| cores * 1e9 / lines_per_s),
        latency: Latency::of(&both),
        wrong: Wrong {
            refused_count: tally.findings.refused_count,
            mismatched_count: tally.findings.mismatched_count,
            lost_connection_count: tally.lost_count,
            unanswered_count: tally.unanswered_count,
            lost_marker_count: 0,
        },
    }
}

/// How many lines were due while it counted, and were not sent.
fn unsent_count(options: &Options, sums: &Sums, measured_s: f64, sent_count: u64) -> u64 {
    let Pace::Open { rate_per_s } = options.pace else {
        return 0;
    };
    if options.connection_count == 0 || (sums.is_stopped && measured_s <= 0.0) {
        return 0;
    }
    let schedule = Schedule::new(rate_per_s);
    let first = (options.warm_up.as_nanos() as u64).div_ceil(schedule.interval_ns());
    // A thread that was held up ends later than it should, and what is due by then is not to be sent.
    let counted = Duration::from_secs_f64(measured_s.max(0.0));
    let counted = match options.line_count {
        Some(_) => counted,
        None => counted.min(options.duration),
    };
    let until_ns = (options.warm_up + counted).as_nanos() as u64;
    // The last burst may have been due when it was over.
    let last = schedule.burst_at(until_ns.saturating_sub(1));
    let due_count = schedule
        .lines_before(last)
        .saturating_sub(schedule.lines_before(first));
    let due_count = due_count.min(options.line_count.unwrap_or(u64::MAX));
    due_count.saturating_sub(sent_count)
}

fn generator(sums: &Sums, answered_count: u64, servers: &[ServerReport]) -> Generator {
    let busy = |outcome: &Outcome| {
        let measured = Duration::from_nanos(outcome.measured_ns.max(1));
        outcome.processor_time.as_secs_f64() / measured.as_secs_f64()
    };
    let busy: Vec<f64> = sums.outcomes.iter().map(busy).collect();
    let used: Duration = sums
        .outcomes
        .iter()
        .map(|outcome| outcome.processor_time)
        .sum();
    let mut late = histogram();
    for outcome in &sums.outcomes {
        merge(&mut late, &outcome.late_ns);
    }
    let late = Latency::of(&late);
    let (is_bottleneck, note) = judge(&busy, &late, servers);
    Generator {
        processor_ns_per_line: used.as_nanos() as f64 / answered_count.max(1) as f64,
        busy,
        late,
        is_bottleneck,
        note,
    }
}

/// Whether the load was at its limit before the servers were.
fn judge(busy: &[f64], late: &Latency, servers: &[ServerReport]) -> (bool, Option<String>) {
    let busiest = busy.iter().copied().fold(0.0, f64::max);
    let loads: f64 = busy.iter().sum();
    let seen = servers.iter().filter_map(|server| server.cores);
    let serving: f64 = seen.clone().sum();
    let is_server_busy = seen.fold(0.0, f64::max) >= BUSY;
    let cores = process::processors_count() as f64;
    if busiest >= BUSY && !is_server_busy {
        let unseen = servers.iter().any(|server| server.cores.is_none());
        let servers = if unseen {
            "how busy the servers were cannot be seen from here"
        } else {
            "no server was"
        };
        let busiest = busiest * 100.0;
        let note = format!(
            "the load was the bottleneck: one of its threads was busy {busiest:.0} % of the time, and {servers}"
        );
        return (true, Some(note));
    }
    if late.p99_us >= LATE_US && !is_server_busy {
        let note = format!(
            "the load was late: of its lines 1 % left more than {:.1} ms after they were due",
            late.p99_us / 1e3
        );
        return (true, Some(note));
    }
    if loads + serving >= BUSY * cores {
        let note = format!(
            "all {cores:.0} cores were busy, {loads:.1} of them with the load: the servers could do more on a \
             machine of their own"
        );
        return (false, Some(note));
    }
    (false, None)
}

fn spread_report(options: &Options, seen: &Seen) -> SpreadReport {
    let name = |place: usize| options.targets[place].name.clone();
    let others = seen.servers.iter().enumerate();
    let others = others.filter(|(place, _)| *place != seen.from);
    SpreadReport {
        from: name(seen.from),
        marker_count: seen.marker_count,
        answer: Latency::of(&seen.servers[seen.from].0),
        question: Latency::of(&seen.asked_ns),
        servers: others
            .map(|(place, (histogram, lost_count, is_gone))| SpreadServer {
                name: name(place),
                latency: Latency::of(histogram),
                lost_count: *lost_count,
                is_gone: *is_gone,
            })
            .collect(),
    }
}

/// The distribution of all latencies in microseconds, as the tools for `.hgrm` files read it.
#[must_use]
pub fn hgrm(histogram: &Histogram<u64>) -> String {
    let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    let mut count = 0;
    for step in histogram.iter_quantiles(5) {
        let (value, quantile) = (step.value_iterated_to() as f64 / 1e3, step.quantile());
        count += step.count_since_last_iteration();
        let _ = write!(text, "{value:12.3} {quantile:14.12} {count:10}");
        // The last line has no inverse.
        let _ = match quantile {
            1.0.. => writeln!(text),
            _ => writeln!(text, " {:14.2}", 1.0 / (1.0 - quantile)),
        };
    }
    let (mean, deviation) = (histogram.mean() / 1e3, histogram.stdev() / 1e3);
    let (max, count) = (histogram.max() as f64 / 1e3, histogram.len());
    let _ = writeln!(
        text,
        "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]"
    );
    let _ = writeln!(text, "#[Max     = {max:12.3}, Total count    = {count:12}]");
    let (buckets, subs) = (histogram.buckets(), histogram.distinct_values());
    let _ = writeln!(
        text,
        "#[Buckets = {buckets:12}, SubBuckets     = {subs:12}]"
    );
    text
}

/// All histograms, in nanoseconds, as a log that the tools for `.hlog` files read: an untagged one of
/// everything, and one for each command.
///
/// # Errors
/// Where a histogram cannot be written, which is a defect.
pub fn hlog(report: &Report) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder.add_comment("wherd bench: nanoseconds");
    let mut log = builder.begin_log_with(&mut out, &mut serializer)?;
    let tags = [None, Tag::new("IAMAT"), Tag::new("WHATSAT")];
    let duration = Duration::from_secs_f64(report.measured_s.max(0.0));
    for (histogram, tag) in report.histograms.iter().zip(tags) {
        if !histogram.is_empty() {
            let written = log.write_histogram(histogram, Duration::ZERO, duration, tag);
            written.map_err(|error| io::Error::other(format!("{error:?}")))?;
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(busy: &[f64], late_us: f64, cores: &[Option<f64>], is_bottleneck: bool, note: &str) {
        let server = |cores: &Option<f64>| ServerReport {
            name: "a".to_owned(),
            address: String::new(),
            pids: Vec::new(),
            cores: *cores,
            lines_per_s: 0.0,
            processor_ns_per_line: None,
            latency: Latency::default(),
            wrong: Wrong::default(),
        };
        let servers: Vec<_> = cores.iter().map(server).collect();
        let late = Latency {
            p99_us: late_us,
            ..Latency::default()
        };
        let judged = judge(busy, &late, &servers);
        assert_eq!(judged.0, is_bottleneck, "{judged:?}");
        let said = judged.1.unwrap_or_default();
        assert!(said.contains(note), "{said}");
        assert_eq!(said.is_empty(), note.is_empty(), "{said}");
    }

    #[test]
    fn a_load_that_is_busy_where_no_server_is_was_the_bottleneck() {
        check(&[0.2, 0.97], 0.0, &[Some(0.1)], true, "and no server was");
        check(&[0.97], 0.0, &[None], true, "cannot be seen from here");
        check(
            &[0.0],
            1_500.0,
            &[Some(0.1)],
            true,
            "more than 1.5 ms after",
        );
        check(&[0.0], 900.0, &[Some(0.1)], false, "");
        check(&[0.0], 0.0, &[None], false, "");
        // Whoever is busy, all cores are.
        check(&[0.97], 0.0, &[Some(1_000.0)], false, "cores were busy");
    }
}
