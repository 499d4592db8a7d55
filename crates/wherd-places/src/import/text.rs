//! A text file of any encoding as UTF-8, with its lines counted.

use super::rows::{At, TableError};
use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8};
use std::io::{self, BufRead, Read};

/// How much is read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// The longest line that is kept as one: the longest of GeoNames has some ten thousand bytes.
const MAX_LINE_BYTES: u64 = 1024 * 1024;

/// Reads a text file as UTF-8, without the mark at its beginning.
///
/// It is checked as it is read: what comes out is valid UTF-8, and the first bytes that are not what
/// they should be end it with an error that tells where they are.
pub(super) struct Text<R> {
    reader: R,
    decoding: Decoding,
    /// Bytes of the file that are not decoded yet: those from `raw_at` on.
    raw: Vec<u8>,
    raw_at: usize,
    is_ended: bool,
    /// All of it is decoded. A decoder must not be asked again then.
    is_done: bool,
    /// UTF-8 that was not taken yet: that from `out_at` on.
    out: Vec<u8>,
    out_at: usize,
    /// Bytes of the file before `raw[raw_at]`.
    offset: u64,
    position: LinePosition,
}

enum Decoding {
    /// Only checked.
    Utf8,
    Other(&'static Encoding, Decoder),
}

/// Where a reader of text is: lines and bytes that it has taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinePosition {
    line: u64,
    byte: u64,
}

impl LinePosition {
    const START: Self = Self { line: 1, byte: 1 };

    fn pass(&mut self, bytes: &[u8]) {
        let line_count = bytes.iter().filter(|byte| **byte == b'\n').count();
        if let Some(last) = bytes.iter().rposition(|byte| *byte == b'\n') {
            self.line += line_count as u64;
            self.byte = (bytes.len() - last) as u64;
        } else {
            self.byte += bytes.len() as u64;
        }
    }

    pub(super) const fn at(self) -> At {
        At::Byte {
            line: self.line,
            byte: self.byte,
        }
    }

    pub(super) const fn at_line(self) -> At {
        At::Line(self.line)
    }

    pub(super) const fn is_same_line(self, other: Self) -> bool {
        self.line == other.line
    }

    pub(super) const fn is_at_start_of_line(self) -> bool {
        self.byte == 1
    }
}

impl<R: Read> Text<R> {
    /// `label` names the encoding; a mark at the beginning of the file is believed before it.
    pub(super) fn open(reader: R, label: Option<&str>) -> Result<Self, TableError> {
        let encoding = match label {
            Some(label) => Encoding::for_label(label.trim().as_bytes())
                .ok_or_else(|| TableError::UnknownEncoding(label.to_owned()))?,
            None => UTF_8,
        };
        let mut text = Self {
            reader,
            decoding: Decoding::Utf8,
            raw: Vec::with_capacity(CHUNK_BYTES),
            raw_at: 0,
            is_ended: false,
            is_done: false,
            out: Vec::new(),
            out_at: 0,
            offset: 0,
            position: LinePosition::START,
        };
        // A pipe may give a few bytes at a time, and the beginning is looked at as a whole.
        while text.raw.len() < CHUNK_BYTES && !text.is_ended {
            text.read_more()?;
        }
        if text.raw.is_empty() {
            return Err(TableError::Empty);
        }
        let (encoding, mark_bytes) = Encoding::for_bom(&text.raw).unwrap_or((encoding, 0));
        text.raw_at = mark_bytes;
        text.offset = mark_bytes as u64;
        if encoding != UTF_8 {
            let decoder = encoding.new_decoder_without_bom_handling();
            text.decoding = Decoding::Other(encoding, decoder);
        }
        Ok(text)
    }

    /// Where the next byte is.
    pub(super) const fn position(&self) -> LinePosition {
        self.position
    }

    /// The beginning of the text, as much as fits a chunk, without taking it.
    pub(super) fn start(&mut self) -> Result<&[u8], TableError> {
        Ok(self.fill_buf()?)
    }

    /// The next byte without taking it, where one is at hand: a parser of JSON takes each by itself.
    #[inline]
    pub(super) fn at_hand(&self) -> Option<u8> {
        self.out.get(self.out_at).copied()
    }

    /// Takes the byte that was at hand.
    #[inline]
    pub(super) fn take_at_hand(&mut self, byte: u8) {
        self.out_at += 1;
        if byte == b'\n' {
            self.position.line += 1;
            self.position.byte = 1;
        } else {
            self.position.byte += 1;
        }
    }

    /// Reads a line without its end into `line`; `false` where there is none left.
    pub(super) fn read_line(&mut self, line: &mut Vec<u8>) -> Result<bool, TableError> {
        line.clear();
        let at = self.position.at_line();
        let byte_count = self
            .by_ref()
            .take(MAX_LINE_BYTES + 2)
            .read_until(b'\n', line)?;
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        } else if byte_count as u64 > MAX_LINE_BYTES {
            let reason = format!("the line is longer than {MAX_LINE_BYTES} bytes");
            return Err(TableError::Damaged { at, reason });
        }
        Ok(byte_count > 0)
    }

    fn read_more(&mut self) -> io::Result<()> {
        self.raw.drain(..self.raw_at);
        self.raw_at = 0;
        let kept = self.raw.len();
        self.raw.resize(kept + CHUNK_BYTES, 0);
        let result = loop {
            match self.reader.read(&mut self.raw[kept..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.raw
            .truncate(kept + result.as_ref().copied().unwrap_or(0));
        self.is_ended = result? == 0;
        Ok(())
    }

    /// Makes UTF-8 of what was read, as far as it is whole and valid.
    fn decode(&mut self) -> io::Result<()> {
        self.out.clear();
        self.out_at = 0;
        match &mut self.decoding {
            Decoding::Utf8 => self.check(),
            Decoding::Other(encoding, decoder) => {
                let raw = &self.raw[self.raw_at..];
                let room = decoder.max_utf8_buffer_length_without_replacement(raw.len());
                let mut out = String::with_capacity(room.unwrap_or(4 * CHUNK_BYTES));
                let (result, read_bytes) =
                    decoder.decode_to_string_without_replacement(raw, &mut out, self.is_ended);
                self.out = out.into_bytes();
                self.raw_at += read_bytes;
                self.offset += read_bytes as u64;
                if let DecoderResult::Malformed(bad, after) = result {
                    let back = u64::from(bad) + u64::from(after);
                    let encoding = encoding.name();
                    let offset = self.offset.saturating_sub(back);
                    return self.refuse(offset, encoding);
                }
                Ok(())
            }
        }
    }

    fn check(&mut self) -> io::Result<()> {
        let raw = &self.raw[self.raw_at..];
        let (valid_bytes, is_bad) = match std::str::from_utf8(raw) {
            Ok(text) => (text.len(), false),
            // What ends within a character may go on.
            Err(error) => {
                let is_bad = error.error_len().is_some() || self.is_ended;
                (error.valid_up_to(), is_bad)
            }
        };
        self.out.extend_from_slice(&raw[..valid_bytes]);
        self.raw_at += valid_bytes;
        self.offset += valid_bytes as u64;
        if is_bad && valid_bytes == 0 {
            return self.refuse(self.offset, UTF_8.name());
        }
        Ok(())
    }

    fn refuse(&self, offset: u64, encoding: &'static str) -> io::Result<()> {
        let mut position = self.position;
        position.pass(&self.out);
        let at = position.at();
        let error = TableError::Encoding {
            at,
            offset,
            encoding,
        };
        Err(error.into())
    }
}

impl<R: Read> BufRead for Text<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.out_at == self.out.len() && !self.is_done {
            self.decode()?;
            self.is_done = self.is_ended && self.raw_at == self.raw.len();
            if self.out.is_empty() && !self.is_ended {
                self.read_more()?;
            }
        }
        Ok(&self.out[self.out_at..])
    }

    fn consume(&mut self, byte_count: usize) {
        let end = (self.out_at + byte_count).min(self.out.len());
        self.position.pass(&self.out[self.out_at..end]);
        self.out_at = end;
    }
}

impl<R: Read> Read for Text<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let from = self.fill_buf()?;
        let byte_count = from.len().min(into.len());
        into[..byte_count].copy_from_slice(&from[..byte_count]);
        self.consume(byte_count);
        Ok(byte_count)
    }
}
