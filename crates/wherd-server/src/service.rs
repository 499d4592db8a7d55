//! The verbs that every front end offers.

use crate::clock;
use crate::node::{Node, Numbers};
use crate::places::{Places, Shelf};
use crate::telemetry::{Level, Traffic, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use wherd_core::{Likes, Outcome, Vote};
use wherd_proto::{AtTexts, Position, Question, Report};
use wherd_proxy::Circle;

/// What clients can ask of a server, whatever protocol they speak.
pub(crate) struct Service {
    pub(crate) node: Arc<Node>,
    shelf: Arc<Shelf>,
    /// Whether the log has a counter that is at its end.
    was_saturation_told: AtomicBool,
}

/// What became of a batch of reports, and the AT texts that were made for them. Its memory is used
/// again for the next batch.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) texts: AtTexts,
    pub(crate) outcomes: Vec<Outcome>,
}

impl Service {
    pub(crate) const fn new(node: Arc<Node>, shelf: Arc<Shelf>) -> Self {
        Self {
            node,
            shelf,
            was_saturation_told: AtomicBool::new(false),
        }
    }

    /// Takes reports of clients, in their order. `heard` then has an outcome and a text for each;
    /// they are acknowledged when that is kept which this returns.
    pub(crate) fn i_am_at(&self, reports: &[Report<'_>], heard: &mut Heard) -> Numbers {
        let received_at_ns = clock::wall_ns();
        heard.texts.write(reports, received_at_ns);
        heard.outcomes.clear();
        let reports = reports.iter().zip(heard.texts.iter());
        self.node
            .report(reports, received_at_ns, &mut heard.outcomes)
    }

    /// Counts what a client says of an article: the count with it, and what has to be kept before
    /// it is acknowledged. `None` where there is no room for one more article.
    pub(crate) fn vote(&self, article: &[u8], vote: Vote) -> Option<(Likes, Numbers)> {
        let voted = self.node.vote(article, vote);
        voted.inspect(|(likes, _)| self.note_saturation(article, *likes))
    }

    /// How often an article is liked.
    pub(crate) fn likes(&self, article: &[u8]) -> Likes {
        let likes = self.node.likes(article);
        self.note_saturation(article, likes);
        likes
    }

    /// Tells the log once of a counter that is at its end; the metrics count the others.
    fn note_saturation(&self, article: &[u8], likes: Likes) {
        if likes.is_saturated && !self.was_saturation_told.swap(true, Ordering::Relaxed) {
            let fields = [
                ("article", article.into()),
                ("count", Value::Shown(&likes.count)),
            ];
            let log = &self.node.log;
            log.event(Level::Warning, "counter.saturated", &fields);
        }
    }

    /// Writes a client's AT line and the document of the places near it; `None`, and nothing
    /// written, where the client was never heard of.
    ///
    /// Where somebody else has to be asked the document is still to come: what is returned tells of
    /// what, and [`Self::ask`] writes it.
    pub(crate) fn whats_at(&self, question: &Question<'_>, out: &mut Vec<u8>) -> Option<Located> {
        let centre = self.node.locate(question.client, out)?;
        let circle = Circle {
            centre,
            radius_mm: question.radius_mm,
        };
        let places = self.shelf.places();
        if !places.answers_itself(&circle, question.bound) {
            return Some(Located::Asks(Box::new(Asks { circle, places })));
        }
        let start = out.len();
        let count = places.write_own(&circle, question.bound, Vec::new(), out);
        self.log_places(question, centre, (count, "local"), out.len() - start);
        Some(Located::Answered)
    }

    /// Writes the document that is still to come. A server that stops asks nobody.
    pub(crate) async fn ask(&self, question: &Question<'_>, asks: Asks, out: &mut Vec<u8>) {
        let Asks { circle, places } = asks;
        let start = out.len();
        let answering = places.answer(&circle, question.bound, out);
        let answered = self.node.stop.run_until_cancelled(answering).await;
        let told = match answered {
            Some(answered) => (answered.places_count, answered.from),
            None => {
                out.truncate(start);
                let message = "this server stops, and asks nobody".to_owned();
                let count = places.write_own(&circle, question.bound, vec![message], out);
                (count, "local")
            }
        };
        self.log_places(question, circle.centre, told, out.len() - start);
    }

    fn log_places(
        &self,
        question: &Question<'_>,
        position: Position,
        (count, from): (usize, &str),
        bytes: usize,
    ) {
        if !self.node.log.has_budget() {
            return self.node.log.leave_out(Traffic::Places, 1);
        }
        let fields = [
            ("id", question.client.into()),
            ("position", Value::Shown(&position)),
            ("from", from.into()),
            ("places", (count as u64).into()),
            ("bytes", (bytes as u64).into()),
        ];
        self.node.log.traffic(Traffic::Places, &fields);
    }
}

/// What became of a question about a client that is known.
pub(crate) enum Located {
    /// It is answered.
    Answered,
    /// Somebody else has to be asked first.
    Asks(Box<Asks>),
}

/// What somebody else is to be asked.
pub(crate) struct Asks {
    circle: Circle,
    places: Arc<Places>,
}
