//! What clients say, and when they are answered.

use crate::agenda::Event;
use crate::checker::{Acknowledged, Invariant, Precedence, Subject, Told, Violation, broken};
use crate::fault::Fault;
use crate::herd::{Herd, MOST_DRIFT_NS, article_name, client_name};
use crate::scenario::{Defect, Level, MS};
use crate::server::Server;
use crate::server::{Pending, WALL_START_NS};
use wherd_core::replica::Outcome;
use wherd_core::{Likes, Vote};
use wherd_proto::frame::Lane;
use wherd_proto::{AtText, AtTexts, Report, Request};

impl Herd<'_> {
    /// Some clients report to some server and some vote at another, if these are up.
    pub(crate) fn hear_clients(&mut self) -> Result<(), Violation> {
        let (load, burst) = (&self.scenario.load, self.burst());
        if self.report_count >= burst.report_count {
            return Ok(());
        }
        self.report_count += 1;
        let gap_ns = self.random.within(&load.gap_ns) * burst.slowness;
        self.agenda.put(self.now_ns + gap_ns, Event::Report);
        self.report_some()?;
        if load.article_count > 0 && self.votes.chance(load.vote_per_mille) {
            self.vote_some()?;
        }
        Ok(())
    }

    fn report_some(&mut self) -> Result<(), Violation> {
        let load = &self.scenario.load;
        let server = self.random.below(self.servers.len());
        if !self.servers[server].is_serving() {
            return Ok(());
        }
        if self.random.chance(load.forget_per_mille) {
            return self.forget_one(server);
        }
        let batch = 1 + self.random.below(load.max_batch);
        let lines: Vec<_> = (0..batch).map(|_| self.random_line()).collect();
        self.report(server, &lines).map(drop)
    }

    /// A client's line, its time one of few: ties must happen.
    fn random_line(&mut self) -> (usize, String) {
        let load = &self.scenario.load;
        let client = self.random.below(load.client_count);
        let unit_ns = load.clock_unit_ns as i64;
        let wall_ns = WALL_START_NS + self.now_ns as i64;
        let mut reported_at_ns = (wall_ns / unit_ns - self.random.below(3) as i64) * unit_ns;
        if self.random.chance(load.far_ahead_per_mille) {
            reported_at_ns += 300_000_000 * 1000 * MS as i64;
        }
        self.line(client, reported_at_ns)
    }

    /// A client, and a line of it that was never said before.
    pub(crate) fn line(&mut self, client: usize, reported_at_ns: i64) -> (usize, String) {
        self.text_count += 1;
        let (degrees, second_ns) = (self.text_count, 1000 * MS as i64);
        let (seconds, ns) = (reported_at_ns / second_ns, reported_at_ns % second_ns);
        let name = client_name(client);
        let line = format!("IAMAT {name} +0.{degrees:06}-118.445127 {seconds}.{ns:09}");
        (client, line)
    }

    /// A server reads lines of clients, as it would from a socket.
    pub(crate) fn report(
        &mut self,
        server: usize,
        lines: &[(usize, String)],
    ) -> Result<Vec<Outcome>, Violation> {
        let received_at_ns = self.servers[server].wall_ns(self.now_ns);
        let reports: Vec<_> = lines.iter().map(|(_, line)| parse(line)).collect();
        let mut texts = AtTexts::default();
        texts.write(&reports, received_at_ns);
        let (mut outcomes, mut effects) = (Vec::new(), Vec::new());
        let Some(replica) = &mut self.servers[server].replica else {
            return Ok(outcomes);
        };
        replica.report(
            reports.iter().zip(texts.iter()),
            received_at_ns,
            self.now_ns,
            &mut outcomes,
            &mut effects,
        );
        let sequence = replica.sequence();
        let level = self.random.pick(&self.scenario.load.levels);
        let latest_ns = received_at_ns + self.scenario.settings.max_ahead_ns;
        let is_far_ahead = self.is_clock_far_ahead(received_at_ns);
        for (index, (at, outcome)) in texts.iter().zip(&outcomes).enumerate() {
            let report = &reports[index];
            let told = Told {
                client: lines[index].0,
                at,
                ordered_at_ns: report.reported_at.saturating_ns().min(latest_ns).max(0),
                now_ns: self.now_ns,
                is_far_ahead,
            };
            self.await_kept(server, &told, sequence, level, *outcome)?;
        }
        self.settle(server, &effects)?;
        self.acknowledge(server)?;
        Ok(outcomes)
    }

    fn vote_some(&mut self) -> Result<(), Violation> {
        let load = &self.scenario.load;
        let server = self.votes.below(self.servers.len());
        if !self.servers[server].is_serving() {
            return Ok(());
        }
        let level = self.votes.pick(&load.levels);
        for _ in 0..=self.votes.below(load.max_batch) {
            let article = self.votes.below(load.article_count);
            let vote = self.votes.pick(&[Vote::Like, Vote::Like, Vote::Unlike]);
            self.vote(server, (article, vote), level)?;
        }
        Ok(())
    }

    /// A server counts what a client says of an article, if it is still up.
    pub(crate) fn vote(
        &mut self,
        server: usize,
        (article, vote): (usize, Vote),
        level: Level,
    ) -> Result<(), Violation> {
        let (me, now_ns) = (self.servers[server].origin(), self.now_ns);
        let Some(replica) = &mut self.servers[server].replica else {
            return Ok(());
        };
        let mut effects = Vec::new();
        let name = article_name(article);
        let likes = replica.vote(name.as_bytes(), vote, now_ns, &mut effects);
        let sequence = replica.sequence_of(Lane::Counters);
        let (subject, precedence) = self.checker.voted(server, &me, (article, vote), now_ns)?;
        let expected = Likes {
            count: self.checker.likes(server, article),
            is_saturated: false,
        };
        if likes != Some(expected) || sequence != precedence.2 {
            return broken(Invariant::Count, || {
                format!("{me}:{sequence} of {name} makes {likes:?} and not {expected:?}")
            });
        }
        self.tell(|_| format!("{me} hears {vote:?} {name}, to be told by {level:?}"));
        self.put_pending(server, (subject, precedence), sequence, level, false);
        self.settle(server, &effects)?;
        self.acknowledge(server)
    }

    /// A server forgets a client, as somebody asked it to.
    fn forget_one(&mut self, server: usize) -> Result<(), Violation> {
        let client = self.random.below(self.scenario.load.client_count);
        let name = client_name(client);
        let wall_ns = self.servers[server].wall_ns(self.now_ns);
        let Some(replica) = &mut self.servers[server].replica else {
            return Ok(());
        };
        let mut effects = Vec::new();
        let is_forgotten = replica.forget(name.as_bytes(), wall_ns, self.now_ns, &mut effects);
        let sequence = replica.sequence();
        if is_forgotten != self.checker.is_known(server, client) {
            return broken(Invariant::Merge, || {
                format!("{name} is forgotten by {server}: {is_forgotten}")
            });
        }
        if is_forgotten {
            let ordered_at_ns = self.checker.forgotten_at_ns(server, client, wall_ns);
            let mut text = Vec::new();
            let (skew_bytes, client_bytes) =
                AtText::write_forgotten(&mut text, name.as_bytes(), ordered_at_ns);
            let told = Told {
                client,
                at: AtText::from_parts(&text, skew_bytes, client_bytes),
                ordered_at_ns,
                now_ns: self.now_ns,
                is_far_ahead: self.is_clock_far_ahead(ordered_at_ns),
            };
            let level = self.random.pick(&self.scenario.load.levels);
            self.await_kept(server, &told, sequence, level, Outcome::Accepted)?;
        }
        self.settle(server, &effects)?;
        self.acknowledge(server)
    }

    /// Whether what a server's clock shows is later than clocks that are set right show.
    fn is_clock_far_ahead(&self, wall_ns: i64) -> bool {
        let most_error_ns = self.scenario.clocks.skew_ns as i64 + MOST_DRIFT_NS;
        wall_ns > WALL_START_NS + self.now_ns as i64 + most_error_ns
    }

    /// Somebody waits until what was just told is kept.
    fn await_kept(
        &mut self,
        server: usize,
        told: &Told<'_>,
        sequence: u64,
        level: Level,
        outcome: Outcome,
    ) -> Result<(), Violation> {
        let me = self.servers[server].origin();
        let shown = String::from_utf8_lossy(told.at.as_bytes());
        self.tell(|_| format!("{me} hears {shown}: {outcome:?}, to be told by {level:?}"));
        let is_accepted = outcome == Outcome::Accepted;
        let precedence = self.checker.reported(server, &me, told, is_accepted)?;
        let told = (Subject::Client(told.client), precedence);
        self.put_pending(server, told, sequence, level, !is_accepted);
        Ok(())
    }

    fn put_pending(
        &mut self,
        server: usize,
        (subject, precedence): (Subject, Precedence),
        sequence: u64,
        level: Level,
        is_older: bool,
    ) {
        self.servers[server].pending.push(Pending {
            told: Acknowledged {
                server,
                subject,
                precedence,
                reported_at_ns: self.now_ns,
                neighbour_count: match level {
                    Level::Neighbours(count) => count,
                    Level::Memory | Level::Disk => 0,
                },
            },
            sequence,
            is_older,
            level,
        });
    }

    /// Answers who waits for what is now kept.
    pub(crate) fn acknowledge(&mut self, server: usize) -> Result<(), Violation> {
        let here = &mut self.servers[server];
        let Some(replica) = &here.replica else {
            return Ok(());
        };
        let is_hasty = self.scenario.defect == Some(Defect::AcknowledgeOlderAtOnce);
        let kept_sequence =
            |pending: &Pending, count| replica.kept_sequence_of(pending.told.subject.lane(), count);
        let is_kept = |pending: &mut Pending| match pending.level {
            Level::Memory => true,
            _ if pending.is_older && is_hasty => true,
            Level::Disk => kept_sequence(pending, 0) >= pending.sequence,
            Level::Neighbours(count) => kept_sequence(pending, count) >= pending.sequence,
        };
        let kept: Vec<_> = here.pending.extract_if(.., is_kept).collect();
        let has_damage = |server: &Server| {
            let file = server.disk.current.as_ref();
            file.is_some_and(|file| file.is_damaged)
        };
        let is_damaged = has_damage(here);
        let others = self.servers.iter().enumerate();
        let is_other_damaged = others
            .filter(|(other, _)| *other != server)
            .any(|(_, other)| has_damage(other));
        let mut newest = None;
        for mut pending in kept {
            if is_other_damaged {
                // What a neighbour keeps for it may be an entry in the part that is damaged.
                pending.told.neighbour_count = 0;
            }
            let acknowledged = match pending.told.subject {
                Subject::Client(_) => &mut self.acknowledged,
                Subject::Counter(..) => &mut self.votes_acknowledged,
            };
            *acknowledged.entry(pending.level).or_default() += 1;
            if pending.level == Level::Memory {
                continue;
            }
            newest = Some(pending.level);
            self.tell(|_| format!("{server} answers {:?}", pending.told));
            // What it gave way to may have been in the part that is damaged.
            if !(pending.is_older && is_damaged) {
                self.checker.acknowledged(pending.told);
            }
        }
        if let Some(level) = newest {
            self.strike_after_acknowledgement(server, level);
        }
        Ok(())
    }

    fn strike_after_acknowledgement(&mut self, server: usize, level: Level) {
        if self.strikes(Fault::CrashAfterAcknowledgement) {
            self.crash(server);
        } else if self.strikes(Fault::CrashOfAllAfterAcknowledgement) {
            if matches!(level, Level::Neighbours(_)) {
                // Its neighbours must do for it.
                self.wipe(server);
            }
            self.crash_all();
        }
    }
}

fn parse(line: &str) -> Report<'_> {
    let Ok(Request::IAmAt(report)) = Request::parse(line.as_bytes()) else {
        panic!("no report: {line}")
    };
    report
}
