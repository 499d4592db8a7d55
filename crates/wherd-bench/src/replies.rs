//! Which answers have come: ends of lines are counted, and a sample is looked at.

use std::collections::VecDeque;

use memchr::{memchr, memchr_iter, memmem, memrchr};

use crate::lines::Command;

/// Of so many lines one is looked at closely.
const SAMPLE_EVERY: u64 = 61;

/// Lines of one command that were sent together, or were due together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) command: Command,
    pub(crate) count: u64,
    /// When they were sent, or were due.
    pub(crate) at_ns: u64,
}

/// What is wrong with answers, and how many were looked at closely.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    pub(crate) refused_count: u64,
    pub(crate) mismatched_count: u64,
    pub(crate) checked_count: u64,
}

impl Findings {
    pub(crate) fn add(&mut self, other: Self) {
        self.refused_count += other.refused_count;
        self.mismatched_count += other.mismatched_count;
        self.checked_count += other.checked_count;
    }
}

/// The answers that a connection waits for.
pub(crate) struct Awaited {
    sent: VecDeque<Sent>,
    in_flight_count: u64,
    /// The number of the next line, and of the next answer.
    next_line: u64,
    next_answer: u64,
    sample: Sample,
    next_sample: u64,
    /// How much of an unfinished answer has been searched for its end.
    searched_bytes: usize,
    refusal: memmem::Finder<'static>,
    empty_line: memmem::Finder<'static>,
}

/// A line whose answer is looked at.
#[derive(Default)]
struct Sample {
    /// Its number; `None`: there is none at the moment.
    line: Option<u64>,
    /// What comes after the command, without the newline.
    operands: Vec<u8>,
}

impl Awaited {
    pub(crate) fn new() -> Self {
        Self {
            sent: VecDeque::new(),
            in_flight_count: 0,
            next_line: 0,
            next_answer: 0,
            sample: Sample::default(),
            next_sample: 0,
            searched_bytes: 0,
            refusal: memmem::Finder::new(b"\n?"),
            empty_line: memmem::Finder::new(b"\n\n"),
        }
    }

    /// How many lines have no answer yet.
    pub(crate) fn in_flight_count(&self) -> u64 {
        self.in_flight_count
    }

    /// Notes a line that will be sent.
    pub(crate) fn add(&mut self, command: Command, line: &[u8], at_ns: u64) {
        if self.sample.line.is_none() && self.next_line >= self.next_sample {
            self.note_sample(line);
        }
        self.next_line += 1;
        self.in_flight_count += 1;
        match self.sent.back_mut() {
            Some(last) if last.command == command && last.at_ns == at_ns => last.count += 1,
            _ => self.sent.push_back(Sent {
                command,
                count: 1,
                at_ns,
            }),
        }
    }

    fn note_sample(&mut self, line: &[u8]) {
        let operands = memchr(b' ', line).map_or(line, |space| &line[space + 1..]);
        self.sample.line = Some(self.next_line);
        self.sample.operands.clear();
        self.sample
            .operands
            .extend_from_slice(operands.trim_ascii_end());
        self.next_sample = self.next_line + SAMPLE_EVERY;
    }

    /// Takes what is whole of `bytes`, which begin where the last answer ended. Returns how much it
    /// took; `answered` is told which lines have their answers.
    pub(crate) fn take(
        &mut self,
        bytes: &[u8],
        findings: &mut Findings,
        mut answered: impl FnMut(Sent),
    ) -> usize {
        let mut taken = 0;
        let mut newline_count = memchr_iter(b'\n', bytes).count() as u64;
        while let Some(first) = self.sent.front().copied() {
            let rest = &bytes[taken..];
            let (count, length) = match first.command {
                Command::IAmAt => whole_lines(rest, first.count, newline_count),
                Command::WhatsAt => match self.document_end(rest) {
                    Some(length) => (1, length),
                    None => (0, 0),
                },
            };
            if count == 0 {
                return taken;
            }
            let answers = &rest[..length];
            newline_count -= match first.command {
                Command::IAmAt => count,
                Command::WhatsAt => memchr_iter(b'\n', answers).count() as u64,
            };
            self.look_at(first.command, count, answers, findings);
            taken += length;
            self.forget(count);
            answered(Sent { count, ..first });
        }
        if taken < bytes.len() {
            // Nobody asked.
            findings.mismatched_count += 1;
        }
        bytes.len()
    }

    /// The length of an answer to WHATSAT, if it is whole.
    fn document_end(&mut self, bytes: &[u8]) -> Option<usize> {
        if bytes.first() == Some(&b'?') {
            return memchr(b'\n', bytes).map(|end| end + 1);
        }
        // The first of two newlines may be the last byte that was searched.
        let from = self.searched_bytes.saturating_sub(1).min(bytes.len());
        let found = self.empty_line.find(&bytes[from..]);
        self.searched_bytes = if found.is_some() { 0 } else { bytes.len() };
        found.map(|end| from + end + 2)
    }

    fn forget(&mut self, count: u64) {
        self.next_answer += count;
        self.in_flight_count -= count;
        if let Some(first) = self.sent.front_mut() {
            first.count -= count;
            if first.count == 0 {
                self.sent.pop_front();
            }
        }
    }

    fn look_at(&mut self, command: Command, count: u64, answers: &[u8], findings: &mut Findings) {
        findings.refused_count += u64::from(answers.first() == Some(&b'?'));
        if count > 1 {
            findings.refused_count += self.refusal.find_iter(answers).count() as u64;
        }
        let Some(place) = self.sample.line.map(|line| line - self.next_answer) else {
            return;
        };
        if place >= count {
            return;
        }
        self.sample.line = None;
        let operands = &self.sample.operands;
        let is_right = match command {
            Command::IAmAt => is_answer_to_report(line_at(answers, place), operands),
            Command::WhatsAt => is_answer_to_question(answers, operands),
        };
        findings.checked_count += 1;
        findings.mismatched_count += u64::from(!is_right);
    }
}

/// How many whole lines there are, `most` at the most, and how long they are together.
fn whole_lines(bytes: &[u8], most: u64, newline_count: u64) -> (u64, usize) {
    if newline_count <= most {
        return (
            newline_count,
            memrchr(b'\n', bytes).map_or(0, |end| end + 1),
        );
    }
    let end = memchr_iter(b'\n', bytes).nth(most as usize - 1);
    (most, end.map_or(0, |end| end + 1))
}

/// One line, without its newline.
fn line_at(lines: &[u8], place: u64) -> &[u8] {
    let begin = match place {
        0 => 0,
        _ => memchr_iter(b'\n', lines)
            .nth(place as usize - 1)
            .map_or(0, |end| end + 1),
    };
    let rest = &lines[begin..];
    &rest[..memchr(b'\n', rest).unwrap_or(rest.len())]
}

/// `AT server skew` and what the client said. A refusal is counted elsewhere.
fn is_answer_to_report(line: &[u8], operands: &[u8]) -> bool {
    if line.starts_with(b"? ") {
        return line.ends_with(operands);
    }
    let Some(head) = line.strip_suffix(operands) else {
        return false;
    };
    let mut fields = head.split(|byte| *byte == b' ');
    let fields = [fields.next(), fields.next(), fields.next(), fields.next()];
    matches!(
        fields,
        [
            Some(b"AT"),
            Some([_, ..]),
            Some([b'+' | b'-', _, ..]),
            Some(b"")
        ]
    )
}

/// An AT line of this client, a document, and an empty line.
fn is_answer_to_question(answer: &[u8], operands: &[u8]) -> bool {
    if answer.starts_with(b"? ") {
        return answer.trim_ascii_end().ends_with(operands);
    }
    let end = memchr(b'\n', answer).unwrap_or(answer.len());
    let (line, document) = answer.split_at(end);
    let client = operands.split(|byte| *byte == b' ').next();
    let mut fields = line.split(|byte| *byte == b' ');
    let is_of_client = fields.next() == Some(b"AT") && fields.nth(2) == client;
    is_of_client && document.starts_with(b"\n{") && document.ends_with(b"}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use Command::{IAmAt, WhatsAt};

    const REPORT: &[u8] = b"IAMAT kiwi +1.0-2.0 5.5\n";
    const ANSWER: &[u8] = b"AT Hill +0.000000001 kiwi +1.0-2.0 5.5\n";
    const QUESTION: &[u8] = b"WHATSAT kiwi 10 5\n";
    const PLACES: &[u8] = b"AT Hill -0.1 kiwi +1.0-2.0 5.5\n{\n \"status\" : \"OK\"\n}\n\n";

    fn line_of(command: Command) -> &'static [u8] {
        match command {
            IAmAt => REPORT,
            WhatsAt => QUESTION,
        }
    }

    /// Takes all of `bytes`, cut in pieces of this length, as a socket gives them.
    fn take(commands: &[Command], bytes: &[u8], piece_bytes: usize) -> (Vec<Command>, Findings) {
        let mut awaited = Awaited::new();
        for command in commands {
            awaited.add(*command, line_of(*command), 7);
        }
        let (mut findings, mut got, mut buffer) = (Findings::default(), Vec::new(), Vec::new());
        for piece in bytes.chunks(piece_bytes) {
            buffer.extend_from_slice(piece);
            let taken = awaited.take(&buffer, &mut findings, |sent| {
                got.extend((0..sent.count).map(|_| sent.command));
            });
            buffer.drain(..taken);
        }
        assert_eq!(
            awaited.in_flight_count() as usize,
            commands.len() - got.len()
        );
        (got, findings)
    }

    #[test]
    fn however_the_stream_is_cut_each_answer_is_found() {
        let commands = [IAmAt, IAmAt, WhatsAt, IAmAt, WhatsAt, WhatsAt, IAmAt];
        let refusal = b"? WHATSAT kiwi 10 5\n";
        let answers = [ANSWER, ANSWER, PLACES, ANSWER, refusal, PLACES, ANSWER].concat();
        for piece_bytes in 1..=answers.len() {
            let (got, findings) = take(&commands, &answers, piece_bytes);
            assert_eq!(got, commands, "{piece_bytes}");
            let expected = Findings {
                refused_count: 1,
                mismatched_count: 0,
                checked_count: 1,
            };
            assert_eq!(findings, expected, "{piece_bytes}");
        }
    }

    #[test]
    fn every_refusal_is_counted() {
        let answers = [b"? IAMAT kiwi +1.0-2.0 5.5\n", ANSWER, b"? x\n? y\n"].concat();
        let (got, findings) = take(&[IAmAt; 4], &answers, answers.len());
        assert_eq!((got.len(), findings.refused_count), (4, 3));
        assert_eq!(findings.mismatched_count, 0);
    }

    #[test]
    fn another_answer_than_was_asked_for_is_told() {
        let check = |command, answer: &[u8]| {
            let (_, findings) = take(&[command], answer, answer.len());
            assert_eq!(
                findings.mismatched_count,
                1,
                "{:?}",
                String::from_utf8_lossy(answer)
            );
        };
        check(IAmAt, b"AT Hill +0.1 kiwi +1.0-2.0 5.6\n");
        check(IAmAt, b"AT Hill 0.1 kiwi +1.0-2.0 5.5\n");
        check(IAmAt, b"AT +0.1 kiwi +1.0-2.0 5.5\n");
        check(IAmAt, b"OK\n");
        check(WhatsAt, b"AT Hill +0.1 kiwis +1.0-2.0 5.5\n{}\n\n");
        check(WhatsAt, b"AT Hill +0.1 kiwi +1.0-2.0 5.5\n\n");
        let twice = [ANSWER, ANSWER].concat();
        check(IAmAt, &twice);
    }

    #[test]
    fn one_of_many_is_looked_at() {
        let answers = ANSWER.repeat(200);
        let mut awaited = Awaited::new();
        let mut findings = Findings::default();
        for answer in answers.chunks(ANSWER.len()) {
            awaited.add(IAmAt, REPORT, 7);
            awaited.take(answer, &mut findings, |_| ());
        }
        let expected = 200_u64.div_ceil(SAMPLE_EVERY);
        assert_eq!(
            (findings.checked_count, findings.mismatched_count),
            (expected, 0)
        );
    }
}
