//! Whether a place is open.
//!
//! What OpenStreetMap calls `opening_hours` is a small language
//! (<https://wiki.openstreetmap.org/wiki/Key:opening_hours/specification>) of local times. Here an
//! instant becomes the local time of the place's zone, and what the expression says of that minute is
//! the answer: an hour that the clocks skip never comes, one that they repeat comes twice.
//!
//! Days of holiday are known of no place: what an expression says of `PH` and `SH` is passed over.

use crate::index::PlaceRef;
use chrono::{
    DateTime, NaiveDate, NaiveDateTime, NaiveTime, Offset as _, TimeDelta, TimeZone as _,
};
use chrono_tz::Tz;
use hashbrown::HashTable;
use opening_hours::localization::{Coordinates, Localize};
use opening_hours::{OpeningHours, RuleKind};
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{PoisonError, RwLock};
use wherd_proto::Position;

/// Longer expressions are of no use to anybody, and cost time: OpenStreetMap allows 255 characters.
const MAX_EXPRESSION_BYTES: usize = 1024;

/// How far ahead an expression is looked at for when its state ends, in seconds.
const LOOK_AHEAD_S: i64 = 24 * 60 * 60;

/// How many states are kept: more than the expressions of a large town.
const MAX_HELD: usize = 16_384;

/// What an expression says of the time around an instant, kept for as long as it says so.
///
/// To read an expression takes as long as to find all places of an answer, and the next answer
/// asks for the same ones. Can be shared: those who ask for what is known do not wait for each
/// other. Takes a few megabytes at most.
pub struct Hours {
    held: RwLock<HashTable<Held>>,
}

/// What a state is of.
#[derive(Clone, Copy, PartialEq)]
struct Question<'a> {
    expression: &'a str,
    time_zone: &'a str,
    /// Told only where the expression speaks of the sun.
    position: Option<Position>,
}

struct Held {
    expression: Box<str>,
    time_zone: Box<str>,
    position: Option<Position>,
    state: State,
}

/// What an expression says, and the seconds since 1970 in which it does.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    is_open: Option<bool>,
    during: Range<i64>,
}

impl Default for Hours {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hours").finish_non_exhaustive()
    }
}

impl Hours {
    /// Nothing is known yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            held: RwLock::new(HashTable::new()),
        }
    }

    /// Whether a place is open at an instant, in seconds since 1970; see [`open_now`].
    #[must_use]
    pub fn is_open(&self, place: &PlaceRef<'_>, now_s: i64) -> Option<bool> {
        let expression = place.opening_hours();
        if expression.is_empty() {
            return None;
        }
        self.is_open_by(expression, place.time_zone(), place.position(), now_s)
    }

    /// The same of a place that is in no index.
    #[must_use]
    pub fn is_open_by(
        &self,
        expression: &str,
        time_zone: &str,
        position: Position,
        now_s: i64,
    ) -> Option<bool> {
        let question = Question::of(expression, time_zone, position);
        let hash = question.hash();
        if let Some(is_open) = self.held_state(&question, hash, now_s) {
            return is_open;
        }
        let state = question.state(now_s);
        let is_open = state.is_open;
        self.hold(&question, hash, state);
        is_open
    }

    fn held_state(&self, question: &Question<'_>, hash: u64, now_s: i64) -> Option<Option<bool>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let held = held.find(hash, |held| held.question() == *question)?;
        let holds = held.state.during.contains(&now_s);
        holds.then_some(held.state.is_open)
    }

    fn hold(&self, question: &Question<'_>, hash: u64, state: State) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = held.find_mut(hash, |held| held.question() == *question) {
            same.state = state;
            return;
        }
        if held.len() >= MAX_HELD {
            // Rarely: what is asked for again is soon known again.
            held.clear();
        }
        let new = Held {
            expression: question.expression.into(),
            time_zone: question.time_zone.into(),
            position: question.position,
            state,
        };
        held.insert_unique(hash, new, |held| held.question().hash());
    }
}

impl Held {
    fn question(&self) -> Question<'_> {
        Question {
            expression: &self.expression,
            time_zone: &self.time_zone,
            position: self.position,
        }
    }
}

/// Whether a place is open at an instant, in seconds since 1970.
///
/// `expression` is in the words of `opening_hours`, `time_zone` the IANA name of the place's zone.
/// The position counts where the expression speaks of the sun. `None` where it is not known: the
/// expression is none, or says so itself ("by appointment"), or there is no such zone.
#[must_use]
pub fn open_now(expression: &str, time_zone: &str, position: Position, now_s: i64) -> Option<bool> {
    Question::of(expression, time_zone, position)
        .state(now_s)
        .is_open
}

impl<'a> Question<'a> {
    fn of(expression: &'a str, time_zone: &'a str, position: Position) -> Self {
        let speaks_of_sun = ["sun", "dawn", "dusk"].iter().any(|event| {
            let mut windows = expression.as_bytes().windows(event.len());
            windows.any(|window| window.eq_ignore_ascii_case(event.as_bytes()))
        });
        Self {
            expression,
            time_zone,
            position: speaks_of_sun.then_some(position),
        }
    }

    fn hash(&self) -> u64 {
        let position = self.position.unwrap_or_default();
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        hasher.hash_one((
            self.expression,
            self.time_zone,
            position.latitude_e7(),
            position.longitude_e7(),
        ))
    }

    /// What the expression says at an instant, and how long. What cannot be told never can.
    fn state(&self, now_s: i64) -> State {
        let read = || self.read(now_s);
        // The library asserts what it believes of itself, and expressions are anybody's.
        let state = catch_unwind(AssertUnwindSafe(read)).ok().flatten();
        state.unwrap_or(State {
            is_open: None,
            during: i64::MIN..i64::MAX,
        })
    }

    fn read(&self, now_s: i64) -> Option<State> {
        if self.expression.len() > MAX_EXPRESSION_BYTES || is_remark(self.expression) {
            return None;
        }
        let zone: Tz = self.time_zone.parse().ok()?;
        let hours: OpeningHours = self.expression.parse().ok()?;
        let local = Local {
            zone,
            coordinates: self.position.and_then(|position| {
                Coordinates::new(position.latitude_degrees(), position.longitude_degrees())
            }),
        };
        let now = local.time_at(now_s)?;
        let hours =
            hours.with_context(opening_hours::Context::default().with_locale(local.clone()));
        let until = now.checked_add_signed(TimeDelta::seconds(LOOK_AHEAD_S))?;
        let range = hours.iter_range(now, until).next()?;
        let holds_for_s = (range.range.end - now).num_seconds().max(1);
        Some(State {
            is_open: match range.kind {
                RuleKind::Open => Some(true),
                RuleKind::Closed => Some(false),
                RuleKind::Unknown => None,
            },
            during: now_s..local.end_of_offset(now_s, now_s.checked_add(holds_for_s)?)?,
        })
    }
}

/// Whether an expression is a remark and nothing else, such as `"by appointment"`.
fn is_remark(expression: &str) -> bool {
    let text = expression.trim().strip_prefix('"');
    let text = text.and_then(|text| text.strip_suffix('"'));
    text.is_some_and(|text| !text.contains('"'))
}

/// The local time of a place.
#[derive(Clone, Debug)]
struct Local {
    zone: Tz,
    coordinates: Option<Coordinates>,
}

impl Local {
    fn offset_s(&self, at_s: i64) -> Option<i32> {
        let utc = DateTime::from_timestamp(at_s, 0)?.naive_utc();
        Some(
            self.zone
                .offset_from_utc_datetime(&utc)
                .fix()
                .local_minus_utc(),
        )
    }

    fn time_at(&self, at_s: i64) -> Option<NaiveDateTime> {
        let local_s = at_s.checked_add(i64::from(self.offset_s(at_s)?))?;
        Some(DateTime::from_timestamp(local_s, 0)?.naive_utc())
    }

    /// When the clocks are changed after `from_s`; `to_s` where they are not before that.
    fn end_of_offset(&self, from_s: i64, to_s: i64) -> Option<i64> {
        let offset = self.offset_s(from_s)?;
        if self.offset_s(to_s)? == offset {
            return Some(to_s);
        }
        let (mut before, mut after) = (from_s, to_s);
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            if self.offset_s(middle)? == offset {
                before = middle;
            } else {
                after = middle;
            }
        }
        Some(after)
    }
}

impl Localize for Local {
    type DateTime = NaiveDateTime;

    fn naive(&self, local: NaiveDateTime) -> NaiveDateTime {
        local
    }

    fn datetime(&self, local: NaiveDateTime) -> NaiveDateTime {
        local
    }

    fn event_time(
        &self,
        date: NaiveDate,
        event: opening_hours_syntax::rules::time::TimeEvent,
    ) -> Option<NaiveTime> {
        let at = self.coordinates?.event_time(date, event)?;
        Some(at.with_timezone(&self.zone).time())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HELSINKI: &str = "Europe/Helsinki";

    fn at(text: &str) -> Position {
        Position::parse(text.as_bytes()).expect("a position")
    }

    /// An instant in UTC.
    fn utc(text: &str) -> i64 {
        let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").expect("a time");
        time.and_utc().timestamp()
    }

    /// In Helsinki, at an instant in UTC.
    fn check(expression: &str, now: &str, expected: Option<bool>) {
        let hours = Hours::new();
        for _ in 0..2 {
            let is_open = hours.is_open_by(expression, HELSINKI, at("+60.17+024.94"), utc(now));
            assert_eq!(is_open, expected, "{expression} at {now}");
        }
    }

    #[test]
    fn an_expression_is_told_in_local_time() {
        // A Friday in winter: local time is two hours ahead.
        let weekdays = "Mo-Fr 09:00-18:00; Sa 10:00-14:00";
        check(weekdays, "2026-11-20 06:59", Some(false));
        check(weekdays, "2026-11-20 07:00", Some(true));
        check(weekdays, "2026-11-20 15:59", Some(true));
        check(weekdays, "2026-11-20 16:00", Some(false));
        check(weekdays, "2026-11-21 11:59", Some(true));
        check(weekdays, "2026-11-22 10:00", Some(false));
        // In summer it is three hours ahead.
        check(weekdays, "2026-07-17 06:00", Some(true));
        check(weekdays, "2026-07-17 15:00", Some(false));
    }

    #[test]
    fn what_is_always_or_never_is_so() {
        for now in ["2026-11-20 00:00", "2026-12-25 23:59", "1971-01-01 00:00"] {
            check("24/7", now, Some(true));
            check("Mo-Su 00:00-24:00", now, Some(true));
            check("off", now, Some(false));
            check("closed", now, Some(false));
        }
    }

    #[test]
    fn a_night_is_of_the_day_on_which_it_begins() {
        let bar = "Fr,Sa 20:00-04:00";
        check(bar, "2026-11-20 18:00", Some(true));
        check(bar, "2026-11-21 01:59", Some(true));
        check(bar, "2026-11-21 02:00", Some(false));
        check(bar, "2026-11-22 01:00", Some(true));
        check(bar, "2026-11-23 01:00", Some(false));
    }

    #[test]
    fn holidays_are_passed_over() {
        check("Mo-Fr 09:00-18:00; PH off", "2026-11-20 08:00", Some(true));
        check("Mo-Fr 09:00-18:00; PH off", "2026-11-21 08:00", Some(false));
        check("PH off", "2026-11-20 08:00", Some(false));
    }

    #[test]
    fn what_is_not_known_is_not_told() {
        let long = "Mo 10:00-12:00; ".repeat(100);
        for expression in [
            "",
            " ",
            "always",
            "9-5",
            "\"by appointment\"",
            "Mo 25:00-99:99",
            &long,
            "\0",
        ] {
            check(expression, "2026-11-20 08:00", None);
        }
        let zones = ["", "Europe/Atlantis", "Helsinki", "+02:00"];
        for zone in zones {
            assert_eq!(open_now("24/7", zone, at("+0+0"), 0), None, "{zone}");
        }
        for now_s in [i64::MIN, i64::MAX, -1 << 50, 1 << 50] {
            assert_eq!(
                open_now("Mo 10:00-12:00", HELSINKI, at("+0+0"), now_s),
                None
            );
        }
    }

    #[test]
    fn clocks_that_are_changed_change_the_time() {
        // On 29 March 2026 at 01:00 UTC, 03:00 becomes 04:00; on 25 October, 04:00 becomes 03:00.
        let early = "Mo-Su 03:00-04:00";
        check(early, "2026-03-29 00:59", Some(false));
        check(early, "2026-03-29 01:00", Some(false));
        check(early, "2026-03-30 00:30", Some(true));
        check(early, "2026-10-25 00:30", Some(true));
        check(early, "2026-10-25 01:30", Some(true));
        check(early, "2026-10-25 02:00", Some(false));
    }

    #[test]
    fn a_state_that_is_kept_ends_when_the_clocks_are_changed() {
        let hours = Hours::new();
        let ask = |now: &str| hours.is_open_by("Mo-Su 05:00-12:00", HELSINKI, at("+0+0"), utc(now));
        assert_eq!(ask("2026-03-28 23:00"), Some(false));
        assert_eq!(ask("2026-03-29 01:59"), Some(false));
        assert_eq!(ask("2026-03-29 02:00"), Some(true));
        assert_eq!(ask("2026-03-29 08:59"), Some(true));
        assert_eq!(ask("2026-03-29 09:00"), Some(false));
        // A clock that goes back is believed.
        assert_eq!(ask("2026-03-29 08:59"), Some(true));
    }

    #[test]
    fn the_sun_is_that_of_the_place() {
        let noon = utc("2026-06-21 21:00");
        let ask = |position| open_now("sunrise-sunset", HELSINKI, at(position), noon);
        // At midnight local time: it shines in Utsjoki, and not in Helsinki.
        assert_eq!(ask("+60.17+024.94"), Some(false));
        let hours = Hours::new();
        let now = utc("2026-12-21 07:00");
        let ask = |position| hours.is_open_by("sunrise-sunset", HELSINKI, at(position), now);
        assert_eq!(ask("+60.17+024.94"), Some(false));
        assert_eq!(ask("+60.17+044.94"), Some(true));
        assert_eq!(ask("+60.17+024.94"), Some(false));
    }

    #[test]
    fn no_more_than_a_bound_is_kept() {
        let hours = Hours::new();
        for number in 0..MAX_HELD + 10 {
            let zone = format!("none {number}");
            assert_eq!(hours.is_open_by("24/7", &zone, at("+0+0"), 0), None);
        }
        let held = hours
            .held
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len();
        assert!(held <= MAX_HELD, "{held}");
    }

    /// Words of the language, in any order.
    fn any_expression() -> impl Strategy<Value = String> {
        const WORDS: &[&str] = &[
            "Mo",
            "Tu-Fr",
            "Sa,Su",
            "PH",
            "SH",
            "off",
            "open",
            "closed",
            "unknown",
            "24/7",
            ";",
            ",",
            "||",
            "09:00-18:00",
            "22:00-26:00",
            "00:00-24:00",
            "24:00",
            "10:00+",
            "sunrise-sunset",
            "(sunset-01:00)-02:00",
            "Jan",
            "Dec 24-26",
            "Feb 29",
            "2020-2026",
            "2028 Feb 29",
            "1999+",
            "week 1-53/2",
            "easter",
            "easter -2 days",
            "Mo[1]",
            "Su[-1]",
            "Fr[5] +3 days",
            "\"text\"",
            "-",
            "+",
            "9999 Dec 31",
            "10:00-16:00/90",
            "Jan 31-Feb 30",
            "dawn-dusk",
            "week 53",
        ];
        proptest::collection::vec(prop::sample::select(WORDS), 0..9)
            .prop_map(|words| words.join(" "))
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_would_be_told(
            expression in any_expression(),
            zone in prop::sample::select(&["Europe/Helsinki", "America/New_York", "Australia/Lord_Howe", "Etc/GMT"][..]),
            start in 0..4_000_000_000_i64,
            steps in proptest::collection::vec(0..100_000_i64, 1..6),
        ) {
            let hours = Hours::new();
            let mut now = start;
            for step in steps {
                now += step;
                let kept = hours.is_open_by(&expression, zone, at("+60.17+024.94"), now);
                prop_assert_eq!(kept, open_now(&expression, zone, at("+60.17+024.94"), now));
            }
        }

        #[test]
        fn no_text_makes_a_panic(expression in "(?s).{0,60}", now in any::<i64>()) {
            let _ = open_now(&expression, HELSINKI, at("+0+0"), now);
        }
    }
}
