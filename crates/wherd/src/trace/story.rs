//! One story of what the servers tell of an update: who had it from whom, when, and who was not
//! sent it.

use std::collections::BTreeMap;

use serde::Serialize;
use wherd_server::trace::{HeldUpdate, TraceAnswer, TraceEvent, TraceLink, TraceWhat, UpdateId};

use super::clocks::{self, Ahead};
use super::{Answers, precedence};

/// What `--json` prints. Times that end in `after_ns` count from the moment at which the origin
/// numbered the update (`zero`), by the origin's clock as far as clocks could be compared.
#[derive(Debug, Serialize)]
pub(super) struct Story<'a> {
    /// The client's ID; escaped where it is no plain text.
    pub(super) client: String,
    pub(super) update: &'a HeldUpdate,
    /// What the times count from.
    pub(super) zero: Option<Zero<'a>>,
    /// All servers of the configuration: the origin, then each behind the one that it had the
    /// update from, the earlier ones first.
    pub(super) servers: Vec<Part<'a>>,
    /// Where the update was not sent.
    pub(super) withheld: Vec<Withheld<'a>>,
    /// Where it was sent for nothing.
    pub(super) again: Vec<Again<'a>>,
}

/// A moment on the clock of a server.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Zero<'a> {
    pub(super) server: &'a str,
    pub(super) at_ns: i64,
}

/// One server's part.
#[derive(Debug, Serialize)]
pub(super) struct Part<'a> {
    pub(super) name: &'a str,
    pub(super) state: State,
    /// Why that is all that is known.
    pub(super) why: Option<String>,
    /// Who sent it.
    pub(super) from: Option<&'a str>,
    /// How many links it had crossed; `None` where that is not known.
    pub(super) hops: Option<usize>,
    /// When it came.
    pub(super) after_ns: Option<i64>,
    /// How long it had waited for the link.
    pub(super) waited_ns: Option<i64>,
    /// How long it was on the link. Less than 0 where clocks differ by what could not be seen.
    pub(super) link_ns: Option<i64>,
    /// How far its clock was found to be ahead of the sender's, which is taken off.
    pub(super) clock: Option<Ahead>,
    /// When its journal had it on the disk.
    pub(super) journal_after_ns: Option<i64>,
    /// When its client was let have the answer.
    pub(super) acknowledged_after_ns: Option<i64>,
    /// When neighbours said that they keep it.
    pub(super) kept_by: Vec<(&'a str, i64)>,
    /// What its clients are promised.
    pub(super) acknowledge: Option<&'a str>,
    /// What it said.
    pub(super) answer: Option<&'a TraceAnswer>,
}

/// What a server has to do with an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// It heard it of the client.
    Origin,
    /// It had it from a neighbour.
    Received,
    /// It has it, and how it came is not noted.
    Earlier,
    /// It holds a newer one, and this one was never there or is not noted.
    Newer,
    /// It does not have it.
    Missing,
    /// It did not answer.
    Down,
}

/// An update that was not sent from one server to another.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Withheld<'a> {
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    pub(super) why: String,
}

/// An update that came to a server that had it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Again<'a> {
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    /// How much later than the first time.
    pub(super) later_ns: Option<i64>,
}

impl<'a> Story<'a> {
    pub(super) fn new(client: &[u8], update: &'a HeldUpdate, answers: &'a Answers<'a>) -> Self {
        let tellers: Vec<_> = answers
            .iter()
            .map(|(name, answer)| Teller::new(name, answer, update))
            .collect();
        let tellers = Tellers(tellers);
        let way = tellers.way(&update.id.server);
        let zero = tellers.zero(&way);
        let told = || tellers.0.iter().filter(|teller| teller.answer.is_some());
        Self {
            client: shown(client),
            update,
            zero: zero.map(|(zero, _)| zero),
            servers: way
                .iter()
                .map(|step| tellers.part(step, zero, update))
                .collect(),
            withheld: told().flat_map(|t| t.withheld(update)).collect(),
            again: told().flat_map(Teller::again).collect(),
        }
    }
}

/// A client's ID for people: as it is where it is plain text.
pub(super) fn shown(client: &[u8]) -> String {
    match std::str::from_utf8(client) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => client.escape_ascii().to_string(),
    }
}

/// A server, and what it told.
struct Teller<'a> {
    name: &'a str,
    answer: Option<&'a TraceAnswer>,
    error: Option<&'a str>,
    state: State,
    /// When it had it first, by its own clock.
    had_at_ns: Option<i64>,
    from: Option<&'a str>,
}

impl<'a> Teller<'a> {
    fn new(name: &'a str, answer: &'a Result<TraceAnswer, String>, update: &HeldUpdate) -> Self {
        let answer = answer.as_ref();
        let (error, answer) = (answer.err().map(String::as_str), answer.ok());
        let is_about = |answer: &&TraceAnswer| answer.about.as_ref() == Some(&update.id);
        let events = || {
            answer
                .filter(is_about)
                .iter()
                .flat_map(|a| &a.events)
                .collect()
        };
        let events: Vec<&TraceEvent> = events();
        let had = events
            .iter()
            .find(|event| matches!(event.what, TraceWhat::Reported | TraceWhat::Received { .. }));
        let from = had.and_then(|event| match &event.what {
            TraceWhat::Received { neighbour } => Some(neighbour.as_str()),
            _ => None,
        });
        let held = answer.and_then(|answer| answer.held.as_ref());
        let state = match (answer, had) {
            (None, _) => State::Down,
            (_, Some(_)) if from.is_none() => State::Origin,
            (_, Some(_)) => State::Received,
            _ => match held.map(|held| precedence(held).cmp(&precedence(update))) {
                Some(std::cmp::Ordering::Equal) => State::Earlier,
                Some(std::cmp::Ordering::Greater) => State::Newer,
                _ => State::Missing,
            },
        };
        Self {
            name,
            answer,
            error,
            state,
            had_at_ns: had.map(|event| event.at_ns),
            from,
        }
    }

    /// When the first event of a kind was noted.
    fn first(&self, is_it: impl Fn(&TraceWhat) -> bool) -> Option<i64> {
        let mut events = self.events();
        events.find(|event| is_it(&event.what)).map(|e| e.at_ns)
    }

    fn events(&self) -> impl Iterator<Item = &'a TraceEvent> {
        self.answer.into_iter().flat_map(|answer| &answer.events)
    }

    /// When it was sent to a neighbour that had it at `had_at_ns` by the clock here; the last time
    /// before that, since a link that breaks is sent it once more.
    fn sent(&self, to: &str, had_at_ns: i64) -> Option<i64> {
        let is_it =
            |what: &TraceWhat| matches!(what, TraceWhat::Sent { neighbour } if neighbour == to);
        let sent: Vec<_> = self.events().filter(|e| is_it(&e.what)).collect();
        let before = sent.iter().rev().find(|event| event.at_ns <= had_at_ns);
        before.or(sent.first()).map(|event| event.at_ns)
    }

    /// When an update that was there could wait for a link: from when it was, or from when the link
    /// was where that came up later.
    fn could_wait_from(&self, to: &str, sent_at_ns: i64) -> Option<i64> {
        let had_at_ns = self.had_at_ns?;
        let is_up =
            |what: &TraceWhat| matches!(what, TraceWhat::LinkUp { neighbour } if neighbour == to);
        let ups = self.events().filter(|event| is_up(&event.what));
        let between = ups
            .map(|event| event.at_ns)
            .filter(|at_ns| *at_ns <= sent_at_ns);
        Some(between.fold(had_at_ns, i64::max))
    }

    /// Why nothing more is told of this server than its state.
    fn why(&self, update: &HeldUpdate) -> Option<String> {
        let answer = match (self.answer, self.error) {
            (Some(answer), _) => answer,
            (None, error) => return error.map(|error| format!("cannot be asked: {error}")),
        };
        match self.state {
            State::Origin | State::Received | State::Down => None,
            State::Earlier => Some(why_not_noted(answer, update)),
            State::Newer => Some(format!(
                "has a newer one, {}, and nothing noted of this one",
                answer.held.as_ref().map_or_else(String::new, |h| id(&h.id))
            )),
            State::Missing => Some(match &answer.held {
                Some(held) => format!("does not have it; what it has is {}", id(&held.id)),
                None => "does not have it, and does not know the client".to_owned(),
            }),
        }
    }

    /// To whom it did not send what it had, and why.
    fn withheld(&self, update: &HeldUpdate) -> Vec<Withheld<'a>> {
        let links = self.answer.iter().flat_map(|answer| &answer.links);
        let withheld = links.filter_map(|link| {
            let (from, to) = (self.name, link.neighbour.as_str());
            let why = self.why_withheld(link, update)?;
            Some(Withheld { from, to, why })
        });
        withheld.collect()
    }

    fn why_withheld(&self, link: &TraceLink, update: &HeldUpdate) -> Option<String> {
        let to = &link.neighbour;
        let has = |what: &TraceWhat| self.first(|noted| noted == what).is_some();
        let neighbour = to.clone();
        if has(&TraceWhat::Sent { neighbour }) {
            return None;
        }
        let neighbour = to.clone();
        if has(&TraceWhat::Suppressed { neighbour }) {
            return Some(format!("{to} said that it has it"));
        }
        // Where it is not noted how it came, what became of it then is not, either.
        let had_at_ns = self.had_at_ns?;
        let neighbour = to.clone();
        let is_held = self.answer?.held.as_ref().map(|held| &held.id) == Some(&update.id);
        Some(if self.from == Some(to) {
            "it came from there".to_owned()
        } else if update.id.server == *to {
            "it was heard there".to_owned()
        } else if has(&TraceWhat::ReceivedAgain { neighbour }) {
            format!("{to} sent it before its turn came")
        } else if !link.is_up {
            "there is no link".to_owned()
        } else if link.is_waiting {
            format!("it still waits, {} clients in all", link.waiting_count)
        } else if link.is_later {
            format!("later, unless {to} has it by then")
        } else if !is_held {
            "a newer one took its place before its turn came".to_owned()
        } else if self.was_down(to, had_at_ns) {
            "there was no link when it came".to_owned()
        } else if !link.is_eager {
            "the policy leaves this link out".to_owned()
        } else {
            "why is not noted".to_owned()
        })
    }

    /// Whether there was no link to a neighbour at that time.
    fn was_down(&self, to: &str, at_ns: i64) -> bool {
        let changes = self.events().filter_map(|event| match &event.what {
            TraceWhat::LinkUp { neighbour } if neighbour == to => Some((event.at_ns, true)),
            TraceWhat::LinkDown { neighbour } if neighbour == to => Some((event.at_ns, false)),
            _ => None,
        });
        let changes: Vec<_> = changes.collect();
        let before = changes.iter().rev().find(|(change, _)| *change <= at_ns);
        match before {
            Some((_, is_up)) => !is_up,
            // The first change that is known tells what was before it.
            None => changes.first().is_some_and(|(_, is_up)| *is_up),
        }
    }

    fn again(&self) -> Vec<Again<'a>> {
        let again = self.events().filter_map(|event| match &event.what {
            TraceWhat::ReceivedAgain { neighbour } => Some(Again {
                from: neighbour,
                to: self.name,
                later_ns: self.had_at_ns.map(|had_at_ns| event.at_ns - had_at_ns),
            }),
            _ => None,
        });
        again.collect()
    }
}

/// Why a server has an update and does not tell how it came.
fn why_not_noted(answer: &TraceAnswer, update: &HeldUpdate) -> String {
    let history = &answer.history;
    if history.limit == 0 {
        return "has it, and notes nothing (`history_events` is 0)".to_owned();
    }
    if history.overwritten_count > 0 {
        let (count, s) = (history.limit, if history.limit == 1 { "" } else { "s" });
        return format!(
            "has it, and what is noted does not reach back that far: {count} record{s} \
             (`history_events`), the oldest of {}",
            super::render::time(history.oldest_at_ns.unwrap_or(answer.now_ns))
        );
    }
    let is_older_run =
        update.id.server == answer.server && update.id.incarnation != answer.incarnation;
    let of = if is_older_run {
        "numbered by an earlier run, "
    } else {
        ""
    };
    format!(
        "has it from before it was started at {}: {of}read from its journal",
        super::render::time(history.started_at_ns)
    )
}

/// Who numbered it, and how.
pub(super) fn id(id: &UpdateId) -> String {
    format!("number {} of {}", id.sequence, id.server)
}

/// One server on the way.
struct Step {
    /// Its place among the tellers.
    place: usize,
    hops: Option<usize>,
    /// What has to be taken off its times to have them on the clock of the first on its way.
    offset_ns: i64,
    clock: Option<Ahead>,
    /// The first on its way.
    root: usize,
}

struct Tellers<'a>(Vec<Teller<'a>>);

impl<'a> Tellers<'a> {
    fn find(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|teller| teller.name == name)
    }

    /// All servers: the origin and who had it from there, then those of whom it is not known where
    /// they had it from.
    fn way(&self, origin: &str) -> Vec<Step> {
        let mut way = Vec::new();
        let origin = self.find(origin);
        let is_root = |place: &usize| self.0[*place].from.is_none();
        let roots = (0..self.0.len()).filter(is_root);
        // Where servers began again without a journal, two may say that they had it from each
        // other: whoever was not walked to yet is a root.
        for root in origin.into_iter().chain(roots).chain(0..self.0.len()) {
            let hops = (Some(root) == origin).then_some(0);
            self.walk(root, hops, &mut way);
        }
        way
    }

    fn walk(&self, root: usize, hops: Option<usize>, way: &mut Vec<Step>) {
        let mut next = vec![Step {
            place: root,
            hops,
            offset_ns: 0,
            clock: None,
            root,
        }];
        while let Some(step) = next.pop() {
            if way.iter().any(|walked: &Step| walked.place == step.place) {
                continue;
            }
            let teller = &self.0[step.place];
            let mut children: Vec<_> = (0..self.0.len())
                .filter(|place| self.0[*place].from == Some(teller.name))
                .map(|place| self.child(&step, place))
                .collect();
            // The last is walked to first.
            let at_ns = |child: &Step| Some(self.0[child.place].had_at_ns? - child.offset_ns);
            children.sort_by_key(|child| std::cmp::Reverse(at_ns(child)));
            next.extend(children);
            way.push(step);
        }
    }

    fn child(&self, parent: &Step, place: usize) -> Step {
        let answers = (self.0[parent.place].answer, self.0[place].answer);
        let clock = answers
            .0
            .zip(answers.1)
            .map(|(here, there)| clocks::ahead(here, there));
        Step {
            place,
            hops: parent.hops.map(|hops| hops + 1),
            offset_ns: parent.offset_ns + clock.map_or(0, |clock| clock.ahead_ns),
            clock,
            root: parent.root,
        }
    }

    /// When the times begin, and on which way: at the origin, or where that does not tell, at the
    /// first server behind it that does.
    fn zero(&self, way: &[Step]) -> Option<(Zero<'a>, usize)> {
        let root = way.first()?.root;
        let mut steps = way.iter().filter(|step| step.root == root);
        steps.find_map(|step| {
            let teller = &self.0[step.place];
            let at_ns = teller.had_at_ns? - step.offset_ns;
            let server = teller.name;
            Some((Zero { server, at_ns }, root))
        })
    }

    fn part(&self, step: &Step, zero: Option<(Zero<'a>, usize)>, update: &HeldUpdate) -> Part<'a> {
        let teller = &self.0[step.place];
        let zero = zero.filter(|(_, root)| *root == step.root);
        let zero_ns = zero.map(|(zero, _)| zero.at_ns + step.offset_ns);
        let after = |at_ns: i64| zero_ns.map(|zero_ns| at_ns - zero_ns);
        let first = |is_it: fn(&TraceWhat) -> bool| teller.first(is_it).and_then(after);
        let (waited_ns, link_ns) = self.link_times(teller, step);
        let kept_by: BTreeMap<_, _> = teller
            .events()
            .filter_map(|event| match &event.what {
                TraceWhat::KeptBy { neighbour } => Some((neighbour.as_str(), after(event.at_ns)?)),
                _ => None,
            })
            .collect();
        Part {
            name: teller.name,
            state: teller.state,
            why: teller.why(update),
            from: teller.from,
            hops: step.hops,
            after_ns: teller.had_at_ns.and_then(after),
            waited_ns,
            link_ns,
            clock: step.clock,
            journal_after_ns: first(|what| *what == TraceWhat::Flushed),
            acknowledged_after_ns: first(|what| *what == TraceWhat::Acknowledged),
            kept_by: kept_by.into_iter().collect(),
            acknowledge: teller.answer.map(|answer| answer.acknowledge.as_str()),
            answer: teller.answer,
        }
    }

    /// How long an update waited for the link that it came by, and how long it was on it.
    fn link_times(&self, teller: &Teller<'_>, step: &Step) -> (Option<i64>, Option<i64>) {
        let times = || {
            let sender = &self.0[self.find(teller.from?)?];
            let ahead_ns = step.clock?.ahead_ns;
            let had_at_ns = teller.had_at_ns? - ahead_ns;
            let sent_at_ns = sender.sent(teller.name, had_at_ns)?;
            let waited_from = sender.could_wait_from(teller.name, sent_at_ns);
            let waited_ns = waited_from.map(|from_ns| sent_at_ns - from_ns);
            Some((waited_ns, had_at_ns - sent_at_ns))
        };
        times().map_or((None, None), |(waited_ns, link_ns)| {
            (waited_ns, Some(link_ns))
        })
    }
}

#[cfg(test)]
pub(super) mod tests;
