//! The settings that are numbers: unit, default, bounds and reason of each in one place.
//!
//! The same lines make the struct, its documentation, the check of a file and the comments of
//! `wherd config init`, so that none of them can disagree.

use std::path::PathBuf;

use serde::Serialize;
use wherd_proxy::provider::Service;

use super::file::Section;
use super::{LogFormat, LogLevel, Mask, Policy};

/// What is known about a number before anyone types it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    /// Its key in the section.
    pub(super) key: &'static str,
    /// What it is when the file does not say.
    pub(super) default: u64,
    /// The least that is allowed.
    pub(super) min: u64,
    /// The most that is allowed.
    pub(super) max: u64,
    /// Its documentation, a line each, with the space that begins a doc comment.
    pub(super) doc: &'static [&'static str],
}

macro_rules! numbers {
    (
        $(#[doc = $about:literal])*
        $name:ident {
            [$($(#[doc = $other_doc:literal])* $other:ident: $other_type:ty = $other_default:expr;)*]
            $(
                $(#[doc = $doc:literal])*
                $field:ident: $type:ty = $default:literal, $min:literal..=$max:literal;
            )*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        pub struct $name {
            $($(#[doc = $other_doc])* pub $other: $other_type,)*
            $(
                $(#[doc = $doc])*
                #[doc = ""]
                #[doc = concat!(
                    "Default ", stringify!($default),
                    ", from ", stringify!($min), " to ", stringify!($max), "."
                )]
                pub $field: $type,
            )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($other: $other_default,)* $($field: $default,)* }
            }
        }

        impl $name {
            /// What is known about each number, in the order of [`Self::values`].
            pub(super) const SETTINGS: &'static [Setting] = &[$(Setting {
                key: stringify!($field),
                default: $default,
                min: $min,
                max: $max,
                doc: &[$($doc),*],
            }),*];

            /// The numbers as they are.
            pub(super) fn values(&self) -> Vec<u64> {
                vec![$(self.$field as u64),*]
            }

            /// Takes the numbers out of a section of the file; the rest is the default.
            pub(super) fn read(section: &mut Section<'_, '_>) -> Self {
                let mut settings = Self::SETTINGS.iter();
                Self {
                    $($field: settings
                        .next()
                        .and_then(|setting| section.number(setting))
                        // The bounds are checked, and they fit the type.
                        .map_or($default, |number| number as $type),)*
                    $($other: $other_default,)*
                }
            }
        }
    };
}

numbers! {
    /// What a client or a neighbour may use up before it is refused, and how long it may take.
    ///
    /// Every queue, line and table of a server has its bound here; at a bound the server refuses
    /// with a reason and counts it.
    Limits {
        []
        /// Longest line of a client in bytes, without its end.
        ///
        /// The longest sensible command is under 400 bytes; the rest is room for long client
        /// names and for other people's formats.
        line_bytes: usize = 8_192, 512..=65_536;
        /// Longest client ID in bytes, and longest article. Lines with longer ones are refused.
        ///
        /// A link carries the length in one byte, hence 255.
        client_id_bytes: usize = 255, 1..=255;
        /// Clients that the herd remembers. Beyond it new ones are refused, known ones served.
        ///
        /// A client takes up to 200 bytes of memory on every server. The same on all servers, or
        /// one refuses what another has accepted.
        clients: usize = 1_000_000, 1..=100_000_000;
        /// Articles that have a counter of likes. Beyond it a first LIKE or UNLIKE is refused.
        ///
        /// An article takes up to 150 bytes of memory on every server, and 80 more for each run of a
        /// server that counted it. Counters do not expire. The same on all servers.
        articles: usize = 100_000, 1..=100_000_000;
        /// Client connections open at once on one server.
        ///
        /// A server takes fewer where the system's limit of open files (`ulimit -n`, the hard one)
        /// leaves room for fewer: some are kept for neighbours, HTTP and files. It says so when it
        /// starts. An idle connection takes less than 6 kB of memory.
        connections: usize = 16_000, 1..=1_000_000;
        /// Seconds without a byte after which a client's connection is closed.
        ///
        /// Devices report every few minutes, so an hour of silence is a device that went away.
        idle_timeout_s: u64 = 3_600, 1..=604_800;
        /// Seconds from a line's first byte to its end.
        ///
        /// Only a client that dribbles bytes to hold a connection needs longer.
        line_timeout_s: u64 = 10, 1..=3_600;
        /// Seconds that a client or a neighbour may go without reading what waits for it.
        ///
        /// Then it is cut off. A neighbour loses nothing by it: a new link starts from what it has.
        stalled_timeout_s: u64 = 10, 1..=3_600;
        /// Bytes of replies that may wait for one client that reads slowly.
        ///
        /// A whole reply with twenty places and a refused line of the greatest length fit into the
        /// least of it. Times `connections`, it is what slow readers can take of the memory.
        waiting_bytes: usize = 262_144, 131_072..=67_108_864;
        /// Connections to the HTTP port open at once.
        ///
        /// Who asks for health, metrics and status is one of a few.
        http_connections: usize = 256, 1..=10_000;
        /// Seconds that the header of an HTTP request may take.
        http_header_timeout_s: u64 = 5, 1..=3_600;
        /// Seconds after which an HTTP connection is closed, whatever it does.
        ///
        /// A status takes milliseconds and a scrape a second; who wants more connects again.
        http_timeout_s: u64 = 60, 1..=3_600;
        /// Longest frame between servers in bytes. A longer one closes the link.
        ///
        /// The same on all servers. It has to hold 64 KiB of updates and one more whose line is as
        /// long as can be, and 200 bytes for each run of a server that the herd has seen: a
        /// neighbour that tells of more runs is not believed.
        frame_bytes: usize = 1_048_576, 262_144..=16_777_216;
        /// Records of recent events that `wherd trace` is told from; 0: none.
        ///
        /// 32 bytes each. One is enough for what happens at once to updates whose numbers follow
        /// each other: to all reports of one read, or most of what one write to a link takes.
        history_events: usize = 16_384, 0..=1_048_576;
        /// Milliseconds that the core or a task may be stuck before the server calls itself
        /// unhealthy (`/livez`, `/readyz`); 0: it never does.
        ///
        /// The longest that a sound server ever spends on one thing is a hundredth of it.
        watchdog_unhealthy_ms: u64 = 2_000, 0..=3_600_000;
        /// Milliseconds after which a server that is still stuck ends itself, so that its
        /// supervisor starts it again; 0: it never does.
        ///
        /// A restart loses nothing that was acknowledged from the disk. Time in which the whole
        /// process was stopped does not count.
        watchdog_abort_ms: u64 = 10_000, 0..=3_600_000;
    }
}

numbers! {
    /// Where what outlives a run is kept, and how much of it there may be.
    JournalConfig {
        [
        /// The folder of the journals, with a folder in it for each server. It is created.
        ///
        /// Default `wherd-data` in the current folder. In a configuration file it is relative to
        /// that file's folder.
        dir: PathBuf = PathBuf::from("wherd-data");
        ]
        /// A journal is compacted when it is so many times as large as what is in it.
        ///
        /// Less costs more writing, more costs more disk and a longer start. While it is compacted
        /// there are two files.
        compact_factor: u64 = 4, 2..=1_000;
        /// Bytes below which a journal is not compacted.
        compact_min_bytes: u64 = 4_194_304, 4_096..=1_099_511_627_776;
        /// Milliseconds before a journal that could not be written is begun again.
        ///
        /// Until then reports are refused where acknowledgements wait for the disk.
        retry_ms: u64 = 1_000, 10..=600_000;
        /// Milliseconds that a client waits for its acknowledgement; then its line is refused.
        ///
        /// A disk that flushes more slowly is broken, and a neighbour that does is not there.
        acknowledge_timeout_ms: u64 = 4_000, 10..=600_000;
    }
}

numbers! {
    /// Where the log goes and how much of it there may be.
    LogConfig {
        [
        /// The folder of the log files, one `<server>.log` for each server. It is created.
        ///
        /// Default `logs` in the current folder, so that a herd that is only tried out leaves one
        /// folder behind. In a configuration file it is relative to that file's folder.
        dir: PathBuf = PathBuf::from("logs");
        /// What a line looks like. Default `text`.
        format: LogFormat = LogFormat::Text;
        /// Which lines are written to the file. Default `info`: all of them.
        ///
        /// The terminal is told what is a notice or a warning, whatever this says.
        level: LogLevel = LogLevel::Info;
        ]
        /// Lines about traffic that are written in a second; the others are counted in one line.
        ///
        /// The classic profile writes them all. More than this costs a core that clients need.
        traffic_lines_per_second: u64 = 20_000, 0..=10_000_000;
        /// Lines about connections that came, went or were refused, written in a second; the others
        /// are counted in one line.
        ///
        /// Beside the lines about traffic, so that neither crowds out the other: whoever connects
        /// a hundred thousand times should not push everything else out of the log.
        connection_lines_per_second: u64 = 1_000, 0..=10_000_000;
        /// Bytes after which a log file is set aside and a new one begun.
        ///
        /// 64 MiB open in any editor.
        rotate_bytes: u64 = 67_108_864, 65_536..=1_099_511_627_776;
        /// How many files that were set aside are kept for each server.
        ///
        /// (`keep` + 1) x `rotate_bytes` is the most disk that one server's log takes.
        keep: usize = 3, 0..=1_000;
    }
}

numbers! {
    /// How long clients wait for places, and how providers are spared.
    PlacesLimits {
        []
        /// Milliseconds after which a client has an answer, whoever it is from.
        ///
        /// More than a second on top of `timeout_ms`, or the second provider is hardly ever asked.
        deadline_ms: u64 = 4_000, 100..=60_000;
        /// Milliseconds that a connection to a provider may take.
        connect_ms: u64 = 1_000, 10..=60_000;
        /// Milliseconds that a call may take, with its retries.
        timeout_ms: u64 = 3_000, 10..=60_000;
        /// How often a call is tried again where that may help: after failed connections, answers
        /// of 500 and above, and "come back in a second".
        retries: usize = 2, 0..=10;
        /// Failures in a row after which a provider is left alone.
        breaker_failures: u32 = 5, 1..=1_000;
        /// Seconds that it is left alone for; then one call tries.
        breaker_rest_s: u64 = 30, 1..=86_400;
        /// Milliseconds from the beginning of a call in which those who ask the same share it.
        ///
        /// Clients that are together ask together. 0: only while it is under way.
        share_ms: u64 = 1_000, 0..=60_000;
        /// Bytes of memory that the answers of one provider may take.
        cache_bytes: u64 = 16_777_216, 65_536..=17_179_869_184;
    }
}

numbers! {
    /// Google's services.
    GoogleConfig {
        [
        /// Where the Places API (New) is.
        base_url: String = Service::Google.base_url().to_owned();
        /// Where the legacy service is.
        legacy_base_url: String = Service::GoogleLegacy.base_url().to_owned();
        /// Which fields are asked for, and so what Google charges.
        mask: Mask = Mask::Pro;
        /// The file that has the key, unless `WHERD_PLACES_KEY` of the environment is one.
        ///
        /// In a configuration file it is relative to that file's folder.
        key_file: Option<PathBuf> = None;
        ]
        /// Seconds for which an answer is used again; 0: not at all.
        ///
        /// Google's terms let nobody keep more of an answer than ids and coordinates. Who has other
        /// terms may set it, and is warned at each start.
        fresh_s: u64 = 0, 0..=2_592_000;
        /// Seconds more where Google does not answer.
        stale_s: u64 = 0, 0..=2_592_000;
        /// Calls of the whole herd in a day (UTC); 0: any number.
        ///
        /// 160 a day are below the 5,000 a month that cost nothing with the mask "pro". With "full"
        /// that takes 32.
        calls_per_day: u64 = 160, 0..=1_000_000_000;
        /// Calls of a server in a second; 0: any number.
        calls_per_second: u32 = 10, 0..=100_000;
        /// Calls of a server under way at once.
        in_flight: usize = 8, 1..=10_000;
    }
}

numbers! {
    /// A server of OpenStreetMap's Overpass API.
    OverpassConfig {
        [
        /// Where it is. The public one is for a few; who has many clients runs one.
        base_url: String = Service::Overpass.base_url().to_owned();
        ]
        /// Seconds for which an answer is used again; 0: not at all. A day.
        fresh_s: u64 = 86_400, 0..=2_592_000;
        /// Seconds more where the server does not answer. A week.
        stale_s: u64 = 604_800, 0..=2_592_000;
        /// Calls of the whole herd in a day (UTC); 0: any number.
        ///
        /// The public server asks everybody to stay below 10,000.
        calls_per_day: u64 = 9_000, 0..=1_000_000_000;
        /// Calls of a server in a second; 0: any number.
        calls_per_second: u32 = 2, 0..=100_000;
        /// Calls of a server under way at once. The public one lets nobody have more than two.
        in_flight: usize = 2, 1..=10_000;
    }
}

numbers! {
    /// How updates spread, and the clocks of the herd. Those of the links decide when something is
    /// sent, never whether.
    Replication {
        [
        /// How an update spreads from server to server. Default `tree`.
        ///
        /// Servers may have different ones for a while: nothing is lost by that.
        policy: Policy = Policy::Tree;
        ]
        /// Milliseconds between two summaries of what a server has, while it changes.
        ///
        /// A summary spares neighbours what came by another way. Above 10 ms most of that has been
        /// sent already; below 2 ms summaries cost more than they spare.
        have_interval_ms: u64 = 5, 1..=1_000;
        /// Milliseconds that a link which the policy leaves out waits for its neighbour to have an
        /// update by other ways, beside the time that this takes.
        ///
        /// Below a few `have_interval_ms` much is sent twice; above, an update that was lost on its
        /// way is that much later.
        lazy_ms: u64 = 20, 1..=10_000;
        /// The same where `ring` has a cycle. A server that died is noticed after `dead_after_ms`, or
        /// at once where its machine says so; until then those behind it wait as long as this.
        ring_lazy_ms: u64 = 200, 1..=10_000;
        /// Milliseconds that what clients count waits at their server before it goes to neighbours.
        ///
        /// What is counted meanwhile goes with it: at any rate of likes a link carries so many of a
        /// counter in a second as this fits into one. Positions never wait.
        counters_ms: u64 = 50, 0..=60_000;
        /// Milliseconds of silence on a link after which a sign of life is asked for.
        ping_interval_ms: u64 = 500, 10..=60_000;
        /// Milliseconds without any sign of life after which a link counts as dead.
        ///
        /// At least twice `ping_interval_ms`, or one late answer cuts a sound link.
        dead_after_ms: u64 = 3_000, 50..=600_000;
        /// Milliseconds before a lost link is dialled again for the first time.
        redial_min_ms: u64 = 50, 1..=60_000;
        /// Milliseconds that the pause between dials grows to, at most; it doubles each time.
        ///
        /// Not below `redial_min_ms`. A server that starts dials its neighbours at once, so this
        /// only delays links that broke in the network.
        redial_max_ms: u64 = 5_000, 1..=600_000;
        /// Milliseconds that neighbours have at a stop to read what they have not been sent yet.
        ///
        /// With a journal nothing is lost where they do not; without one they are the only ones
        /// who keep it. A supervisor has to be more patient than this.
        last_words_ms: u64 = 2_000, 0..=600_000;
        /// Seconds between two comparisons of what neighbours hold; 0: never.
        ///
        /// Where they reflect the same and hold something else, a memory or this program erred. That
        /// is counted, logged and repaired.
        digest_interval_s: u64 = 60, 0..=86_400;
        /// Milliseconds that a clock may differ from those of most neighbours before its server says
        /// that it is not ready.
        ///
        /// Clients' times are ordered at most 5 s ahead of the server that hears them: one that runs
        /// behind by more than that puts its clients' reports behind everybody else's.
        clock_tolerance_ms: u64 = 5_000, 10..=86_400_000;
        /// Seconds after which a client that has not reported is gone, by the time of its report;
        /// 0: never.
        ///
        /// The same on all servers.
        retention_s: u64 = 0, 0..=3_153_600_000;
        /// Seconds that a server may have been away and still go on from its journal. One that was
        /// away for longer sets it aside, starts empty and is sent all by its neighbours.
        ///
        /// For so long the herd knows that a client was forgotten, and what runs numbered that have
        /// ended. The same on all servers. 30 days.
        away_limit_s: u64 = 2_592_000, 60..=3_153_600_000;
    }
}
