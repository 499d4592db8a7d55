//! The verbs that every front end offers.

use crate::node::Node;
use crate::places::Places;
use crate::telemetry::Traffic;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use wherd_core::Outcome;
use wherd_proto::{AtText, Question, Report};

/// What clients can ask of a server, whatever protocol they speak.
pub(crate) struct Service {
    pub(crate) node: Arc<Node>,
    places: Places,
}

/// What became of a batch of reports, and the AT texts that were made for them. Its memory is used
/// again for the next batch.
#[derive(Default)]
pub(crate) struct Heard {
    texts: Vec<u8>,
    /// Where each report's text begins, and how many bytes its skew has.
    parts: Vec<(usize, u8)>,
    pub(crate) outcomes: Vec<Outcome>,
}

impl Heard {
    /// The AT text of the `index`th report.
    pub(crate) fn at(&self, index: usize, report: &Report<'_>) -> AtText<'_> {
        let (start, skew_bytes) = self.parts[index];
        let end = self
            .parts
            .get(index + 1)
            .map_or(self.texts.len(), |(start, _)| *start);
        AtText::from_parts(
            &self.texts[start..end],
            skew_bytes,
            report.client.len() as u8,
        )
    }

    fn write_texts(&mut self, reports: &[Report<'_>], received_at_ns: i64) {
        self.texts.clear();
        self.parts.clear();
        self.outcomes.clear();
        for report in reports {
            let start = self.texts.len();
            let skew_bytes = AtText::write(&mut self.texts, report, received_at_ns);
            self.parts.push((start, skew_bytes));
        }
    }
}

impl Service {
    pub(crate) const fn new(node: Arc<Node>, places: Places) -> Self {
        Self { node, places }
    }

    /// Takes reports of clients, in their order. `heard` then has an outcome and a text for each.
    pub(crate) fn i_am_at(&self, reports: &[Report<'_>], heard: &mut Heard) {
        let received_at_ns = wall_clock_ns();
        heard.write_texts(reports, received_at_ns);
        let mut outcomes = std::mem::take(&mut heard.outcomes);
        let texts = reports
            .iter()
            .enumerate()
            .map(|(i, report)| (report, heard.at(i, report)));
        self.node.report(texts, received_at_ns, &mut outcomes);
        heard.outcomes = outcomes;
    }

    /// Writes a client's AT line and the document of the places near it; `false`, and nothing
    /// written, where the client was never heard of.
    pub(crate) fn whats_at(&self, question: &Question<'_>, out: &mut Vec<u8>) -> bool {
        let Some(position) = self.node.locate(question.client, out) else {
            return false;
        };
        let start = out.len();
        let count = self
            .places
            .nearby(position, question.radius_mm, question.bound, out);
        if self.node.log.has_budget() {
            let fields = [
                ("id", question.client.into()),
                ("position", crate::telemetry::Value::Shown(&position)),
                ("places", (count as u64).into()),
                ("bytes", ((out.len() - start) as u64).into()),
            ];
            self.node.log.traffic(Traffic::Places, &fields);
        } else {
            self.node.log.leave_out(Traffic::Places, 1);
        }
        true
    }
}

/// Nanoseconds since 1970.
fn wall_clock_ns() -> i64 {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_1970.as_nanos()).unwrap_or(i64::MAX)
}
