//! How far the clocks of two neighbours differ, as far as they can tell.
//!
//! Each tells the other what its clock shows, every few seconds. What arrives was shown a while
//! before, so a clock seems to be behind by the time that telling took, which nobody knows and
//! which is never negative. So each side gives one bound of the difference, and both together an
//! interval in which it certainly is, or was when they told. Where 0 is in it nothing shows that
//! the clocks differ, and the times are left as they are; else the middle is taken, as NTP does
//! (RFC 5905, section 8).

use serde::Serialize;
use wherd_server::trace::TraceAnswer;

/// How far one clock is ahead of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Ahead {
    /// What is taken for it.
    pub(super) ahead_ns: i64,
    /// How wrong that may be; `None` where one side did not tell.
    pub(super) error_ns: Option<i64>,
}

/// How far the clock of `there` is ahead of that of `here`.
pub(super) fn ahead(here: &TraceAnswer, there: &TraceAnswer) -> Ahead {
    let told = |by: &TraceAnswer, of: &TraceAnswer| {
        let mut links = by.links.iter();
        links
            .find(|link| link.neighbour == of.server)?
            .clock_ahead_ns
    };
    let (least_ns, most_ns) = (told(here, there), told(there, here).map(|ns| -ns));
    match (least_ns, most_ns) {
        (Some(a), Some(b)) => {
            // They told at different times: what lies between may be the wrong way round.
            let (least_ns, most_ns) = (a.min(b), a.max(b));
            let middle_ns = least_ns + (most_ns - least_ns) / 2;
            let ahead_ns = if least_ns <= 0 && 0 <= most_ns {
                0
            } else {
                middle_ns
            };
            let error_ns = (ahead_ns - least_ns).max(most_ns - ahead_ns);
            Ahead {
                ahead_ns,
                error_ns: Some(error_ns),
            }
        }
        (Some(least_ns), None) => Ahead {
            ahead_ns: least_ns.max(0),
            error_ns: None,
        },
        (None, Some(most_ns)) => Ahead {
            ahead_ns: most_ns.min(0),
            error_ns: None,
        },
        (None, None) => Ahead::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::tests::answer;
    use super::*;

    fn check(here: Option<i64>, there: Option<i64>, expected: (i64, Option<i64>)) {
        let (mut hill, mut smith) = (answer("Hill", &["Smith"]), answer("Smith", &["Hill"]));
        hill.links[0].clock_ahead_ns = here;
        smith.links[0].clock_ahead_ns = there;
        let told = ahead(&hill, &smith);
        assert_eq!(
            (told.ahead_ns, told.error_ns),
            expected,
            "{here:?} {there:?}"
        );
        let back = ahead(&smith, &hill);
        assert_eq!(back.ahead_ns, -told.ahead_ns, "{here:?} {there:?}");
    }

    #[test]
    fn clocks_that_may_be_equal_are_left_alone() {
        check(Some(-50), Some(-70), (0, Some(70)));
        check(Some(-90), Some(-20), (0, Some(90)));
    }

    #[test]
    fn clocks_that_differ_are_put_in_the_middle() {
        check(Some(950), Some(-1070), (1010, Some(60)));
        check(Some(-1070), Some(950), (-1010, Some(60)));
    }

    #[test]
    fn where_one_side_tells_only_what_is_certain_is_corrected() {
        check(Some(-50), None, (0, None));
        check(Some(950), None, (950, None));
        check(None, Some(-50), (0, None));
        check(None, Some(950), (-950, None));
        check(None, None, (0, None));
    }
}
