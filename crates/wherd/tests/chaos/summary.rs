//! What a run did and found, for people.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::checker::Counts;
use crate::trial::Healed;

/// Adds up the rounds of a run.
#[derive(Default)]
pub(crate) struct Summary {
    faults: BTreeMap<&'static str, u64>,
    counts: Counts,
    agreed_after: Vec<Duration>,
    /// What could not be done here, and why.
    skipped: BTreeMap<String, u64>,
    pub(crate) notes: Vec<String>,
}

impl Summary {
    pub(crate) fn fault(&mut self, word: &'static str) {
        *self.faults.entry(word).or_default() += 1;
    }

    pub(crate) fn skip(&mut self, what: &str, why: &str) {
        *self.skipped.entry(format!("{what}: {why}")).or_default() += 1;
    }

    pub(crate) fn take(&mut self, healed: Healed) {
        self.agreed_after.push(healed.agreed_after);
        self.add(healed.counts);
    }

    /// What was checked without a herd that agrees.
    pub(crate) fn add(&mut self, counts: Counts) {
        let all = &mut self.counts;
        all.lines += counts.lines;
        all.unanswered += counts.unanswered;
        all.acknowledged += counts.acknowledged;
        all.checked += counts.checked;
        all.excused += counts.excused;
        all.lost += counts.lost;
        all.refused += counts.refused;
        all.reads += counts.reads;
    }

    pub(crate) const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The median and the longest time to agreement.
    fn agreement(&self) -> Option<(Duration, Duration)> {
        let mut sorted = self.agreed_after.clone();
        sorted.sort();
        Some((*sorted.get(sorted.len() / 2)?, *sorted.last()?))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: u64 = self.faults.values().sum();
        write!(f, "faults: {total}")?;
        for (word, count) in &self.faults {
            write!(f, "\n{count:>8} {word}")?;
        }
        let counts = &self.counts;
        if counts.lines > 0 {
            write!(
                f,
                "\nlines: {} sent, {} never answered; reports: {} acknowledged, {} refused; \
                 answers to WHATSAT: {} checked",
                counts.lines, counts.unanswered, counts.acknowledged, counts.refused, counts.reads
            )?;
        }
        write!(
            f,
            "\nacknowledged reports: {} looked for, {} lost, {} excused",
            counts.checked, counts.lost, counts.excused
        )?;
        if let Some((median, longest)) = self.agreement() {
            let rounds = self.agreed_after.len();
            write!(
                f,
                "\nagreement after the last fault, {rounds} times: \
                 median {median:.0?}, longest {longest:.0?}"
            )?;
        }
        for note in &self.notes {
            write!(f, "\n{note}")?;
        }
        for (what, count) in &self.skipped {
            write!(f, "\nskipped, not passed: {count} {what}")?;
        }
        Ok(())
    }
}
