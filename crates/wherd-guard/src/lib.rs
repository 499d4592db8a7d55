//! What the hot paths took when their baseline was written, and whether it became more.
//!
//! Instructions are counted and not time: their number does not depend on what else the machine
//! does. `benches/instructions` counts them; docs/performance.md says how to read it.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;

/// How much more may be counted with the tools that the baseline was made with, in percent.
///
/// A count that is repeated is the same. A change elsewhere may move what is inlined, and has moved
/// counts by 0.3 % so far.
pub const TOLERANCE_PERCENT: f64 = 3.0;
/// The same with others: another compiler, another C library.
///
/// A compiler two versions later made 2 % of difference. A line that is formatted twice makes 12.
pub const OTHER_TOOLS_TOLERANCE_PERCENT: f64 = 10.0;

/// What was counted once, by the name of its path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Baseline {
    /// The versions of all that has a say in it.
    pub tools: String,
    /// Instructions for one item.
    pub counts: BTreeMap<String, f64>,
}

/// What a count is, beside that of the baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// It is not in the baseline.
    New,
    /// By so many percent more or less, within the tolerance.
    Same(f64),
    /// Beyond the tolerance: a baseline that is left as it is would let it become slow again.
    Fewer(f64),
    /// Beyond the tolerance.
    More(f64),
}

impl Baseline {
    /// Reads what [`Display`](fmt::Display) wrote; `None` where it is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (tools, lines) = text.split_once('\n')?;
        let counts = lines.lines().map(|line| {
            let (path, count) = line.split_once(' ')?;
            Some((path.to_owned(), count.parse().ok()?))
        });
        Some(Self {
            tools: tools.to_owned(),
            counts: counts.collect::<Option<_>>()?,
        })
    }

    /// How much more may be counted with these tools, in percent.
    #[must_use]
    pub fn tolerance_percent(&self, tools: &str) -> f64 {
        if self.tools == tools {
            TOLERANCE_PERCENT
        } else {
            OTHER_TOOLS_TOLERANCE_PERCENT
        }
    }

    /// What to say of a count that these tools made.
    #[must_use]
    pub fn judge(&self, path: &str, count: f64, tools: &str) -> Verdict {
        let Some(before) = self.counts.get(path) else {
            return Verdict::New;
        };
        let percent = (count / before - 1.0) * 100.0;
        let tolerance = self.tolerance_percent(tools);
        if percent > tolerance {
            Verdict::More(percent)
        } else if percent < -tolerance {
            Verdict::Fewer(percent)
        } else {
            Verdict::Same(percent)
        }
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.tools)?;
        self.counts
            .iter()
            .try_for_each(|(path, count)| writeln!(f, "{path} {count:.1}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline() -> Baseline {
        Baseline::parse("rustc 1, glibc 2\nreport 1000.0\nsend 200.5\n").expect("a baseline")
    }

    #[test]
    fn what_was_written_is_read_back() {
        assert_eq!(
            Baseline::parse(&baseline().to_string()).as_ref(),
            Some(&baseline())
        );
        for text in ["", "tools", "tools\nreport", "tools\nreport many\n"] {
            assert_eq!(Baseline::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn more_than_the_tolerance_is_told_and_other_tools_have_a_wider_one() {
        let same = "rustc 1, glibc 2";
        for (tools, count, expected) in [
            (same, 1000.0, "Same(0)"),
            (same, 1029.0, "Same(3)"),
            (same, 1031.0, "More(3)"),
            (same, 971.0, "Same(-3)"),
            (same, 969.0, "Fewer(-3)"),
            ("rustc 2, glibc 2", 1099.0, "Same(10)"),
            ("rustc 2, glibc 2", 1101.0, "More(10)"),
            ("rustc 2, glibc 2", 899.0, "Fewer(-10)"),
        ] {
            let verdict = baseline().judge("report", count, tools);
            assert_eq!(format!("{verdict:.0?}"), expected, "{tools} {count}");
        }
        assert_eq!(baseline().judge("replay", 1.0, same), Verdict::New);
    }
}
