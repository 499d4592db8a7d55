//! Metric names, and who counts.

use crate::journal;
use crate::limits::open_descriptors_count;
use crate::watchdog::Watchdog;
use metrics::{Counter, Gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::sync::atomic::{AtomicU64, Ordering};
use wherd_proxy::provider::Service;
use wherd_proxy::{Event, Kind};

/// The numbers that a server counts as it works. What the replica counts itself is set when
/// somebody asks ([`Metrics::render`]).
pub(crate) struct Metrics {
    handle: PrometheusHandle,
    /// Lines of clients that were reports.
    pub(crate) iamat: Counter,
    /// Lines of clients that were questions.
    pub(crate) whatsat: Counter,
    /// Lines of clients that were LIKE, UNLIKE and LIKES.
    pub(crate) likes_lines: [Counter; 3],
    /// Lines of clients that were answered with `?`.
    pub(crate) refused_lines: Counter,
    /// Client connections open.
    pub(crate) connections: Gauge,
    /// Client connections accepted.
    pub(crate) accepted_connections: Counter,
    /// Client connections turned away because too many were open.
    pub(crate) refused_connections: Counter,
    /// Client connections closed because the client was idle.
    pub(crate) closed_as_idle: Counter,
    /// Client connections closed because a begun line did not end in time.
    pub(crate) closed_for_slow_line: Counter,
    /// Client connections closed because the client did not read.
    pub(crate) closed_for_not_reading: Counter,
    /// Client connections that there may be.
    pub(crate) connections_limit: Gauge,
    /// Clients that may be known.
    pub(crate) clients_limit: Gauge,
    /// Lines of clients that were too long.
    pub(crate) long_lines: Counter,
    /// Lines of clients whose client ID was too long.
    pub(crate) long_client_ids: Counter,
    /// Failures to accept at the listener for clients, for links and for HTTP.
    pub(crate) accept_failures: [Counter; 3],
    /// Connections on the link port that did not become a link.
    pub(crate) refused_links: Counter,
    /// HTTP connections open.
    pub(crate) http_connections: Gauge,
    /// HTTP connections turned away because too many were open.
    pub(crate) refused_http_connections: Counter,
    /// HTTP connections closed because they took too long.
    pub(crate) timed_out_http_connections: Counter,
    /// Descriptors that this process may have.
    pub(crate) descriptors_limit: Gauge,
    descriptors: Gauge,
    /// Links closed because a neighbour sent what is no frame, or one that has no place.
    pub(crate) bad_frames: Counter,
    /// Bytes sent to neighbours.
    pub(crate) link_bytes_sent: Counter,
    /// Bytes received from neighbours.
    pub(crate) link_bytes_received: Counter,
    accepted: Counter,
    older: Counter,
    full: Counter,
    received: Counter,
    superseded: Counter,
    diverged: Counter,
    expired: Counter,
    clients: Gauge,
    forgotten: Gauge,
    links_up: Gauge,
    waiting: Gauge,
    is_ready: Gauge,
    uptime: Gauge,
    history: Gauge,
    history_limit: Gauge,
    history_reach: Gauge,
    stalled: Gauge,
    stalls: Counter,
    /// Configurations that were read again and applied.
    pub(crate) reloads: Counter,
    /// Those that could not be.
    pub(crate) failed_reloads: Counter,
    journal: JournalMetrics,
    counters: CounterMetrics,
    /// What the providers of places are asked and answer.
    pub(crate) places: PlacesMetrics,
}

/// What is counted of providers, by the number of the service.
pub(crate) struct PlacesMetrics {
    calls: [Counter; 3],
    /// By how they came about: `called`, `hit`, `shared`, `stale`.
    answers: [[Counter; 4]; 3],
    errors: [[Counter; Kind::ALL.len()]; 3],
    budget_left: [Gauge; 3],
}

impl PlacesMetrics {
    const SERVICES: [Service; 3] = [Service::Google, Service::GoogleLegacy, Service::Overpass];

    fn register() -> Self {
        const CALLS: &str = "wherd_places_calls_total";
        const ANSWERS: &str = "wherd_places_answers_total";
        const ERRORS: &str = "wherd_places_errors_total";
        const LEFT: &str = "wherd_places_budget_left";
        metrics::describe_counter!(CALLS, "requests to providers of places, retries included");
        metrics::describe_counter!(ANSWERS, "answers of providers, by how they came about");
        metrics::describe_counter!(
            ERRORS,
            "questions that a provider gave no answer to, by why"
        );
        metrics::describe_gauge!(LEFT, "calls that are left of the budget of the day");
        let answers = |service: Service| {
            ["called", "hit", "shared", "stale"]
                .map(|how| metrics::counter!(ANSWERS, "provider" => service.word(), "how" => how))
        };
        let errors = |service: Service| {
            Kind::ALL.map(
                |kind| metrics::counter!(ERRORS, "provider" => service.word(), "kind" => kind.word()),
            )
        };
        Self {
            calls: Self::SERVICES
                .map(|service| metrics::counter!(CALLS, "provider" => service.word())),
            answers: Self::SERVICES.map(answers),
            errors: Self::SERVICES.map(errors),
            budget_left: Self::SERVICES
                .map(|service| metrics::gauge!(LEFT, "provider" => service.word())),
        }
    }

    pub(crate) fn count(&self, service: Service, event: &Event) {
        let number = service as usize;
        let [called, hit, shared, stale] = &self.answers[number];
        match event {
            Event::Sent => self.calls[number].increment(1),
            Event::Answered { .. } => called.increment(1),
            Event::Hit => hit.increment(1),
            Event::Shared => shared.increment(1),
            Event::Stale => stale.increment(1),
            Event::Failed { why, .. } => {
                let mut kinds = Kind::ALL.iter().zip(&self.errors[number]);
                if let Some((_, errors)) = kinds.find(|(kind, _)| kind.word() == why.kind.word()) {
                    errors.increment(1);
                }
            }
            Event::Spending(spent) => self.budget_left[number].set(spent.left() as f64),
            Event::Rests { .. } | Event::Back => {}
        }
    }
}

/// What the replica counts of its counters.
struct CounterMetrics {
    articles: Gauge,
    counters: Gauge,
    refused: Counter,
    saturated: Counter,
    received: Counter,
    superseded: Counter,
    sent: Counter,
}

/// What the journal counts itself, set when somebody asks.
struct JournalMetrics {
    bytes: Gauge,
    has_failed: Gauge,
    written_bytes: Counter,
    flushes: Counter,
    flush_ns: Counter,
    failures: Counter,
    compactions: Counter,
    damaged: Counter,
}

/// What is read off the replica when somebody asks for the metrics.
pub(crate) struct Reading {
    pub(crate) counts: wherd_core::Counts,
    pub(crate) counted: wherd_core::CounterCounts,
    pub(crate) articles_count: usize,
    pub(crate) counters_count: usize,
    pub(crate) clients_count: usize,
    pub(crate) forgotten_count: usize,
    pub(crate) links_up_count: usize,
    pub(crate) waiting_count: u64,
    pub(crate) is_ready: bool,
    pub(crate) uptime_s: f64,
    pub(crate) reach: wherd_core::Reach,
    pub(crate) now_ns: u64,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || Self::register(&recorder))
    }

    fn register(recorder: &PrometheusRecorder) -> Self {
        let counter = |name: &'static str, help: &'static str| {
            metrics::describe_counter!(name, help);
            metrics::counter!(name)
        };
        let gauge = |name: &'static str, help: &'static str| {
            metrics::describe_gauge!(name, help);
            metrics::gauge!(name)
        };
        let closed = |why: &'static str| {
            const NAME: &str = "wherd_client_connections_closed_total";
            metrics::describe_counter!(NAME, "client connections closed at a limit, by which");
            metrics::counter!(NAME, "why" => why)
        };
        let reloads = |result: &'static str| {
            const NAME: &str = "wherd_reloads_total";
            metrics::describe_counter!(NAME, "times that the configuration was read again");
            metrics::counter!(NAME, "result" => result)
        };
        let likes_lines = |command: &'static str| {
            const NAME: &str = "wherd_likes_lines_total";
            metrics::describe_counter!(NAME, "lines about likes answered, by command");
            metrics::counter!(NAME, "command" => command)
        };
        let accept_failures = |listener: &'static str| {
            const NAME: &str = "wherd_accept_failures_total";
            metrics::describe_counter!(NAME, "times that no connection could be accepted");
            metrics::counter!(NAME, "listener" => listener)
        };
        Self {
            handle: recorder.handle(),
            iamat: counter("wherd_iamat_total", "IAMAT lines answered"),
            whatsat: counter("wherd_whatsat_total", "WHATSAT lines answered"),
            likes_lines: ["like", "unlike", "likes"].map(likes_lines),
            refused_lines: counter("wherd_refused_lines_total", "lines answered with ?"),
            connections: gauge("wherd_client_connections", "client connections open"),
            accepted_connections: counter(
                "wherd_client_connections_accepted_total",
                "client connections accepted",
            ),
            refused_connections: counter(
                "wherd_client_connections_refused_total",
                "client connections turned away at the limit",
            ),
            closed_as_idle: closed("idle"),
            closed_for_slow_line: closed("slow_line"),
            closed_for_not_reading: closed("not_reading"),
            connections_limit: gauge(
                "wherd_client_connections_limit",
                "client connections that there may be",
            ),
            clients_limit: gauge("wherd_clients_limit", "clients that may be known"),
            long_lines: counter("wherd_long_lines_total", "lines refused for their length"),
            long_client_ids: counter(
                "wherd_long_client_ids_total",
                "lines refused for the length of their client ID",
            ),
            accept_failures: ["clients", "links", "http"].map(accept_failures),
            refused_links: counter(
                "wherd_links_refused_total",
                "connections on the link port that did not become a link",
            ),
            http_connections: gauge("wherd_http_connections", "HTTP connections open"),
            refused_http_connections: counter(
                "wherd_http_connections_refused_total",
                "HTTP connections turned away at the limit",
            ),
            timed_out_http_connections: counter(
                "wherd_http_connections_timed_out_total",
                "HTTP connections closed for taking too long",
            ),
            descriptors_limit: gauge("process_max_fds", "descriptors that the process may have"),
            descriptors: gauge("process_open_fds", "descriptors that the process has"),
            bad_frames: counter(
                "wherd_bad_frames_total",
                "links closed because of what a neighbour sent",
            ),
            link_bytes_sent: counter("wherd_link_sent_bytes_total", "bytes sent to neighbours"),
            link_bytes_received: counter(
                "wherd_link_received_bytes_total",
                "bytes received from neighbours",
            ),
            accepted: counter(
                "wherd_reports_accepted_total",
                "reports that became updates",
            ),
            older: counter(
                "wherd_reports_older_total",
                "reports older than what is held",
            ),
            full: counter(
                "wherd_reports_refused_total",
                "reports refused for want of room",
            ),
            received: counter(
                "wherd_updates_received_total",
                "updates received from neighbours",
            ),
            superseded: counter(
                "wherd_updates_superseded_total",
                "updates received that changed nothing",
            ),
            diverged: counter(
                "wherd_divergences_total",
                "times that a neighbour reflected the same and held something else",
            ),
            expired: counter(
                "wherd_expired_total",
                "entries removed because they were too old, or forgotten long enough",
            ),
            clients: gauge("wherd_clients", "clients known"),
            forgotten: gauge(
                "wherd_forgotten_clients",
                "clients that are known to be forgotten",
            ),
            links_up: gauge("wherd_links_up", "neighbours with a link that is up"),
            waiting: gauge("wherd_link_waiting_clients", "clients waiting on all links"),
            is_ready: gauge("wherd_ready", "1 when ready, 0 when not"),
            uptime: gauge("wherd_uptime_seconds", "seconds since the start"),
            history: gauge("wherd_history_events", "records of recent events"),
            history_limit: gauge(
                "wherd_history_events_limit",
                "records of recent events that there may be",
            ),
            history_reach: gauge(
                "wherd_history_reach_seconds",
                "seconds since the oldest record of a recent event, 0 where there is none",
            ),
            reloads: reloads("ok"),
            failed_reloads: reloads("failed"),
            stalled: gauge(
                "wherd_stalled_seconds",
                "seconds that what is stuck for the longest time is, 0 where nothing is",
            ),
            stalls: counter(
                "wherd_stalls_total",
                "times that the core or a task was stuck for too long",
            ),
            counters: CounterMetrics {
                articles: gauge("wherd_articles", "articles that have a counter of likes"),
                counters: gauge(
                    "wherd_counters",
                    "counters: one for each article and each run of a server that counted it",
                ),
                refused: counter(
                    "wherd_likes_refused_total",
                    "likes refused for want of room for one more article",
                ),
                saturated: counter(
                    "wherd_counters_saturated_total",
                    "likes that found a counter at its end",
                ),
                received: counter(
                    "wherd_counters_received_total",
                    "counters received from neighbours",
                ),
                superseded: counter(
                    "wherd_counters_superseded_total",
                    "counters received that changed nothing",
                ),
                sent: counter("wherd_counters_sent_total", "counters sent to neighbours"),
            },
            places: PlacesMetrics::register(),
            journal: JournalMetrics {
                bytes: gauge("wherd_journal_bytes", "bytes of the current journal file"),
                has_failed: gauge(
                    "wherd_journal_failed",
                    "1 while the journal cannot be written, 0 while it can",
                ),
                written_bytes: counter(
                    "wherd_journal_written_bytes_total",
                    "bytes written to journal files",
                ),
                flushes: counter("wherd_journal_flushes_total", "flushes of journal files"),
                flush_ns: counter(
                    "wherd_journal_flush_nanoseconds_total",
                    "time that flushes took",
                ),
                failures: counter(
                    "wherd_journal_failures_total",
                    "times that a journal file could not be written",
                ),
                compactions: counter(
                    "wherd_journal_compactions_total",
                    "journal files that were begun and took the place of one",
                ),
                damaged: counter(
                    "wherd_journal_damaged_total",
                    "places in the journal that were damaged at the start",
                ),
            },
        }
    }

    /// What the watchdog sees.
    pub(crate) fn set_watchdog(&self, watchdog: &Watchdog) {
        self.stalled.set(watchdog.longest_s());
        self.stalls.absolute(watchdog.stalls_count());
    }

    /// All metrics as they were read last, where nothing can be read.
    pub(crate) fn render_unread(&self) -> String {
        self.is_ready.set(0.0);
        self.handle.render()
    }

    fn set_history(&self, reach: &wherd_core::Reach, now_ns: u64) {
        self.history.set(reach.count as f64);
        self.history_limit.set(reach.limit as f64);
        let reach_ns = reach
            .oldest_at_ns
            .map_or(0, |oldest_at_ns| now_ns - oldest_at_ns);
        self.history_reach.set(reach_ns as f64 / 1e9);
    }

    /// What the journal has counted so far.
    pub(crate) fn set_journal(&self, counts: &journal::Counts, has_failed: bool) {
        let journal = &self.journal;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        journal.bytes.set(read(&counts.bytes) as f64);
        journal.has_failed.set(f64::from(u8::from(has_failed)));
        for (counter, count) in [
            (&journal.written_bytes, &counts.written_bytes),
            (&journal.flushes, &counts.flushes),
            (&journal.flush_ns, &counts.flush_ns),
            (&journal.failures, &counts.failures),
            (&journal.compactions, &counts.compactions),
            (&journal.damaged, &counts.damaged),
        ] {
            counter.absolute(read(count));
        }
    }

    /// All metrics in Prometheus' text format.
    pub(crate) fn render(&self, reading: &Reading) -> String {
        let (counts, counted) = (&reading.counts, &reading.counted);
        for (counter, count) in [
            (&self.accepted, counts.accepted),
            (&self.older, counts.older),
            (&self.full, counts.refused),
            (&self.received, counts.received),
            (&self.superseded, counts.superseded),
            (&self.diverged, counts.diverged),
            (&self.expired, counts.expired),
            (&self.counters.refused, counted.refused),
            (&self.counters.saturated, counted.saturated),
            (&self.counters.received, counted.received),
            (&self.counters.superseded, counted.superseded),
            (&self.counters.sent, counted.sent),
        ] {
            counter.absolute(count);
        }
        self.clients.set(reading.clients_count as f64);
        self.counters.articles.set(reading.articles_count as f64);
        self.counters.counters.set(reading.counters_count as f64);
        self.forgotten.set(reading.forgotten_count as f64);
        self.links_up.set(reading.links_up_count as f64);
        self.waiting.set(reading.waiting_count as f64);
        self.is_ready.set(f64::from(u8::from(reading.is_ready)));
        self.uptime.set(reading.uptime_s);
        self.set_history(&reading.reach, reading.now_ns);
        self.descriptors.set(open_descriptors_count() as f64);
        self.handle.render()
    }
}
