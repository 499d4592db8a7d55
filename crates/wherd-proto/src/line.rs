//! Bytes in, whole lines out. Bounds the length of a line; never reads a socket.

/// How much more is asked for when a read filled the buffer, at the most.
const MAX_BUFFER_BYTES: usize = 64 * 1024;
const FIRST_BUFFER_BYTES: usize = 1024;

/// SP, TAB, CR, LF, FF and VT: the protocol's white space, and nothing else.
#[must_use]
pub const fn is_white_space(byte: u8) -> bool {
    byte == b' ' || byte.wrapping_sub(b'\t') < 5
}

/// A line without its terminator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// The first bytes, up to the limit, of a line that is longer. The rest will be skipped.
    TooLong(&'a [u8]),
}

/// The reading side of one connection: what came and was not taken yet.
///
/// In turn: read into [`Lines::space`], say how much with [`Lines::filled`], take what
/// [`Lines::take_whole`] yields; at the end of the stream, [`Lines::take_last`].
#[derive(Debug)]
pub struct Lines {
    buffer: Vec<u8>,
    /// What is in the buffer and not taken: `buffer[start..end]`.
    start: usize,
    end: usize,
    /// How far from `start` no terminator was found: so that a line that trickles in is looked
    /// at once and not once for each byte.
    scanned: usize,
    limit: usize,
    /// The line that came in is too long and was told so: skip to its terminator.
    is_skipping: bool,
}

impl Lines {
    /// Lines of at most `limit` bytes, terminator not counted.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            end: 0,
            scanned: 0,
            limit,
            is_skipping: false,
        }
    }

    /// From here on this is the limit, of a line that has begun, too.
    pub const fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Where the next bytes go, at least one.
    pub fn space(&mut self) -> &mut [u8] {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            let most = MAX_BUFFER_BYTES.max(self.limit + 2);
            let bytes = (self.buffer.len() * 2).clamp(FIRST_BUFFER_BYTES, most);
            // A line never fills `most`: it is told to be too long before.
            self.buffer.resize(bytes.max(self.end + 1), 0);
        }
        &mut self.buffer[self.end..]
    }

    /// So many bytes are to come, about: an empty buffer is made large enough for them at once.
    pub fn expect(&mut self, bytes: usize) {
        let bytes = bytes.min(MAX_BUFFER_BYTES);
        if self.start == self.end && self.buffer.len() < bytes {
            self.buffer = vec![0; bytes.next_power_of_two()];
            (self.start, self.end) = (0, 0);
        }
    }

    /// Whether the last bytes filled it, so that there may be more at once, and it may still grow.
    #[must_use]
    pub const fn may_grow(&self) -> bool {
        self.end == self.buffer.len() && self.end < MAX_BUFFER_BYTES
    }

    /// How much memory it has.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Gives back the memory that is not needed for what came and was not taken.
    pub fn shrink(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        self.buffer.truncate(self.end);
        self.buffer.shrink_to_fit();
    }

    /// Says that the first `count` bytes of [`Lines::space`] hold what was read.
    pub fn filled(&mut self, count: usize) {
        assert!(
            count <= self.buffer.len() - self.end,
            "filled more than there was space"
        );
        self.end += count;
    }

    /// Whether a line began that has no end yet.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.start < self.end || self.is_skipping
    }

    /// What came of a line that has no end yet.
    #[must_use]
    pub fn begun(&self) -> &[u8] {
        if self.is_skipping {
            &[]
        } else {
            &self.buffer[self.start..self.end]
        }
    }

    /// Takes every line that is whole, or is known to be too long.
    pub fn take_whole(&mut self) -> WholeLines<'_> {
        WholeLines {
            bytes: &self.buffer[..self.end],
            start: &mut self.start,
            scanned: &mut self.scanned,
            is_skipping: &mut self.is_skipping,
            limit: self.limit,
        }
    }

    /// Takes what came after the last terminator; `None` where nothing did. To be called where no
    /// more will come, or where what came is to be taken for a line.
    pub fn take_last(&mut self) -> Option<&[u8]> {
        let last = self.start..self.end;
        (self.start, self.scanned) = (self.end, 0);
        (!self.is_skipping && !last.is_empty()).then(|| &self.buffer[last])
    }
}

/// See [`Lines::take_whole`]. The lines live as long as the buffer is not read into.
#[derive(Debug)]
pub struct WholeLines<'a> {
    bytes: &'a [u8],
    start: &'a mut usize,
    scanned: &'a mut usize,
    is_skipping: &'a mut bool,
    limit: usize,
}

impl<'a> Iterator for WholeLines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        loop {
            let rest = &self.bytes[*self.start..];
            let Some(found) = memchr::memchr(b'\n', &rest[*self.scanned..]) else {
                return self.begun(rest);
            };
            let length = *self.scanned + found;
            (*self.start, *self.scanned) = (*self.start + length + 1, 0);
            if std::mem::take(self.is_skipping) {
                continue;
            }
            let line = &rest[..length];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            return Some(if line.len() > self.limit {
                Line::TooLong(&line[..self.limit])
            } else {
                Line::Whole(line)
            });
        }
    }
}

impl<'a> WholeLines<'a> {
    /// There is no terminator in `rest`: nothing yet, unless it is too long already.
    fn begun(&mut self, rest: &'a [u8]) -> Option<Line<'a>> {
        // One more than the limit may still be the CR of a CRLF.
        let is_too_long = rest.len() > self.limit + 1
            || (rest.len() == self.limit + 1 && rest.last() != Some(&b'\r'));
        if *self.is_skipping || is_too_long {
            (*self.start, *self.scanned) = (self.bytes.len(), 0);
        } else {
            *self.scanned = rest.len();
        }
        if !*self.is_skipping && is_too_long {
            *self.is_skipping = true;
            return Some(Line::TooLong(&rest[..self.limit]));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What comes out when `chunks` come in and the stream ends; too long ones have a `!` before.
    fn lines(limit: usize, chunks: &[&[u8]]) -> Vec<Vec<u8>> {
        lines_shrunk(limit, chunks, |_| false)
    }

    /// The same, where memory is given back before the chunks that `is_shrunk` says.
    fn lines_shrunk(
        limit: usize,
        chunks: &[&[u8]],
        is_shrunk: impl Fn(usize) -> bool,
    ) -> Vec<Vec<u8>> {
        let (mut lines, mut found) = (Lines::new(limit), Vec::new());
        for (number, mut chunk) in chunks.iter().copied().enumerate() {
            if is_shrunk(number) {
                lines.shrink();
            }
            while !chunk.is_empty() {
                let space = lines.space();
                let count = space.len().min(chunk.len());
                space[..count].copy_from_slice(&chunk[..count]);
                lines.filled(count);
                chunk = &chunk[count..];
                for line in lines.take_whole() {
                    found.push(match line {
                        Line::Whole(line) => line.to_vec(),
                        Line::TooLong(line) => [b"!", line].concat(),
                    });
                }
            }
        }
        found.extend(lines.take_last().map(<[u8]>::to_vec));
        found
    }

    fn check(input: &[u8], expected: &[&[u8]]) {
        assert_eq!(lines(8, &[input]), expected, "in one piece");
        let bytes: Vec<_> = input.chunks(1).collect();
        assert_eq!(lines(8, &bytes), expected, "byte by byte");
    }

    #[test]
    fn lf_and_crlf_end_a_line() {
        check(b"a\nb\r\nc", &[b"a", b"b", b"c"]);
        check(b"\n\r\n", &[b"", b""]);
        check(b"a\rb\r\r\n", &[b"a\rb\r"]);
        check(b"", &[]);
        check(b"a\n", &[b"a"]);
        check(b"\xff\x00\n", &[b"\xff\x00"]);
    }

    #[test]
    fn a_line_over_the_limit_is_cut_and_the_next_one_lives() {
        check(b"12345678\n12345678\r\n", &[b"12345678", b"12345678"]);
        check(b"123456789\nb\n", &[b"!12345678", b"b"]);
        check(b"123456789 and much more\r\nb\n", &[b"!12345678", b"b"]);
        check(b"12345678\rx\nb", &[b"!12345678", b"b"]);
        check(b"123456789 without an end", &[b"!12345678"]);
    }

    /// Reads `bytes`, which fit into the space that there is, and counts the lines that are whole.
    fn read(lines: &mut Lines, bytes: &[u8]) -> usize {
        lines.space()[..bytes.len()].copy_from_slice(bytes);
        lines.filled(bytes.len());
        lines.take_whole().count()
    }

    #[test]
    fn a_new_limit_holds_for_a_line_that_has_begun() {
        let mut lines = Lines::new(8);
        assert_eq!(read(&mut lines, b"1234567"), 0);
        lines.set_limit(4);
        lines.space()[0] = b'\n';
        lines.filled(1);
        let taken: Vec<_> = lines.take_whole().collect();
        assert_eq!(taken, [Line::TooLong(b"1234")]);
    }

    /// A client that only holds a connection, and one that dribbles a line, are told apart by it.
    #[test]
    fn a_line_has_begun_from_its_first_byte_to_its_terminator() {
        let mut lines = Lines::new(4);
        let mut check = |bytes: &[u8], has_begun: bool, begun: &[u8]| {
            read(&mut lines, bytes);
            assert_eq!(lines.has_begun(), has_begun, "{}", bytes.escape_ascii());
            assert_eq!(lines.begun(), begun);
        };
        check(b"", false, b"");
        check(b"a", true, b"a");
        check(b"b", true, b"ab");
        check(b"\n", false, b"");
        check(b"a\nb", true, b"b");
        // It was told to be too long, and goes on.
        check(b"cdefg", true, b"");
        check(b"hi", true, b"");
        check(b"\n", false, b"");
    }

    #[test]
    fn what_came_last_is_taken_once() {
        let mut lines = Lines::new(8);
        read(&mut lines, b"a\nbc");
        assert_eq!(lines.take_last(), Some(&b"bc"[..]));
        assert_eq!(lines.take_last(), None);
        assert!(!lines.has_begun());
        // It may go on where the end was only that of a turn.
        assert_eq!(read(&mut lines, b"d\n"), 1);
        read(&mut lines, b"123456789");
        assert_eq!(lines.take_last(), None, "it was told to be too long");
    }

    #[test]
    fn what_is_to_come_has_its_space_at_once_and_costs_nothing_that_came() {
        let mut lines = Lines::new(8192);
        lines.expect(5000);
        assert_eq!(lines.space().len(), 8192);
        lines.expect(100);
        assert_eq!(lines.space().len(), 8192, "there is more already");
        lines.expect(1 << 30);
        assert_eq!(lines.space().len(), MAX_BUFFER_BYTES);
        let mut lines = Lines::new(8192);
        assert_eq!(read(&mut lines, b"a\nbc"), 1);
        lines.expect(5000);
        assert_eq!(lines.begun(), b"bc");
        assert_eq!(read(&mut lines, b"\n"), 1);
        lines.expect(5000);
        assert_eq!((lines.space().len(), lines.has_begun()), (8192, false));
    }

    #[test]
    fn only_a_buffer_that_was_filled_and_is_small_may_grow() {
        let mut lines = Lines::new(8192);
        let count = lines.space().len();
        lines.filled(count - 1);
        assert!(!lines.may_grow(), "a byte is free");
        lines.filled(1);
        assert!(lines.may_grow());
        while lines.capacity() < MAX_BUFFER_BYTES {
            assert!(lines.may_grow());
            let count = lines.space().len();
            lines.filled(count);
        }
        assert!(!lines.may_grow(), "it is as large as it may be");
    }

    #[test]
    #[should_panic(expected = "filled more than there was space")]
    fn no_more_is_filled_than_there_was_space() {
        let mut lines = Lines::new(8);
        let count = lines.space().len();
        lines.filled(count + 1);
    }

    #[test]
    fn memory_is_bounded_by_the_limit() {
        let mut lines = Lines::new(8192);
        for _ in 0..1000 {
            let count = lines.space().len();
            lines.filled(count);
            lines.take_whole().for_each(drop);
        }
        assert!(lines.buffer.len() <= MAX_BUFFER_BYTES);
    }

    #[test]
    fn what_was_taken_leaves_no_memory_behind() {
        let mut lines = Lines::new(8192);
        assert_eq!(lines.capacity(), 0, "nothing came yet");
        for (bytes, kept) in [(&b"a\nb\n"[..], 0), (b"a\nbc", 2), (b"\n", 0)] {
            lines.space()[..bytes.len()].copy_from_slice(bytes);
            lines.filled(bytes.len());
            lines.take_whole().for_each(drop);
            assert!(lines.capacity() > kept);
            lines.shrink();
            assert_eq!(lines.capacity(), kept, "after {}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn the_lines_do_not_depend_on_the_cuts(
            input in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'x'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(1..40_usize, 0..50),
            shrunk in any::<u64>(),
        ) {
            let (mut chunks, mut rest) = (Vec::new(), input.as_slice());
            for cut in cuts {
                let (chunk, after) = rest.split_at(cut.min(rest.len()));
                chunks.push(chunk);
                rest = after;
            }
            chunks.push(rest);
            let whole = lines(10, &[&input]);
            prop_assert_eq!(&lines(10, &chunks), &whole);
            let is_shrunk = |number| shrunk >> (number % 64) & 1 == 1;
            prop_assert_eq!(lines_shrunk(10, &chunks, is_shrunk), whole);
        }
    }
}
