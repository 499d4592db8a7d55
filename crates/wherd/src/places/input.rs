//! Opening what is imported: compressed or not, and of which format.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::rc::Rc;

use flate2::CrcReader;
use flate2::bufread::DeflateDecoder;
use flate2::read::MultiGzDecoder;
use wherd_places::import::{Format, detect};

use crate::failure::{Code, Context as _, Failure};

/// How much of a file is looked at to tell its format.
const START_BYTES: u64 = 64 * 1024;

/// A file to import.
pub(super) struct Input {
    pub(super) format: Format,
    pub(super) content: Content,
    /// How long the file is, compressed as it may be.
    pub(super) len: u64,
    /// How much of it was read.
    pub(super) read: Rc<Cell<u64>>,
}

/// The bytes of a file.
pub(super) enum Content {
    /// As they are.
    Plain(Counted<File>),
    /// What they decompress to.
    Unpacked(Box<dyn Read>),
}

impl Content {
    pub(super) fn reader(self) -> Box<dyn Read> {
        match self {
            Self::Plain(file) => Box::new(BufReader::new(file)),
            Self::Unpacked(reader) => reader,
        }
    }
}

impl Input {
    /// Opens a file; `format` is what was said that it has.
    pub(super) fn open(path: &Path, format: Option<Format>) -> Result<Self, Failure> {
        let what = || format!("read {}", path.display());
        let file = File::open(path).context(what())?;
        let metadata = file.metadata().context(what())?;
        if metadata.is_dir() {
            let message = format!("cannot import {}: it is a folder", path.display());
            return Err(Failure::new(Code::Failed, message));
        }
        let read = Rc::new(Cell::new(0));
        let mut file = Counted {
            inner: file,
            read: Rc::clone(&read),
        };
        let mut name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mut start = [0; 4];
        let start_len = read_start(&mut file, &mut start).context(what())?;
        let mut content = match &start[..start_len] {
            [0x1f, 0x8b, ..] => {
                file.rewind().context(what())?;
                let text = name.strip_suffix(".gz").map(str::to_owned);
                name = text.unwrap_or(name);
                Content::Unpacked(Box::new(MultiGzDecoder::new(BufReader::new(file))))
            }
            b"PK\x03\x04" => {
                let (inner_name, reader) = zip(file).map_err(|error| not_read(path, &error))?;
                name = inner_name;
                Content::Unpacked(reader)
            }
            // A pipe cannot be rewound, and an empty file need not be.
            _ if metadata.is_file() => {
                file.rewind().context(what())?;
                Content::Plain(file)
            }
            start => {
                let start = Cursor::new(start.to_vec());
                Content::Unpacked(Box::new(start.chain(BufReader::new(file))))
            }
        };
        let format = match format {
            Some(format) => format,
            None => told_by_content(&mut content, &name).map_err(|error| not_read(path, &error))?,
        };
        Ok(Self {
            format,
            content,
            len: metadata.len(),
            read,
        })
    }
}

fn not_read(path: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot import {}: {error}", path.display());
    Failure::new(Code::Failed, message).help("`--format` says what a file is")
}

fn told_by_content(content: &mut Content, name: &str) -> io::Result<Format> {
    let mut start = Vec::new();
    match content {
        Content::Plain(file) => {
            file.take(START_BYTES).read_to_end(&mut start)?;
            file.rewind()?;
        }
        Content::Unpacked(reader) => {
            reader.take(START_BYTES).read_to_end(&mut start)?;
            let rest = std::mem::replace(reader, Box::new(io::empty()));
            *reader = Box::new(Cursor::new(start.clone()).chain(rest));
        }
    }
    detect(&start, name).map_err(io::Error::other)
}

fn read_start(file: &mut impl Read, start: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < start.len() {
        match file.read(&mut start[len..])? {
            0 => break,
            more => len += more,
        }
    }
    Ok(len)
}

/// The first file of a ZIP archive that is no text about the others, and its name.
///
/// GeoNames has archives of one table, with a `readme.txt` or without. They are read from their start to their
/// end, so that nothing is unpacked beside them. <https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>
fn zip(mut file: Counted<File>) -> io::Result<(String, Box<dyn Read>)> {
    const ENTRY: [u8; 4] = *b"PK\x03\x04";
    let mut offset = 0;
    loop {
        file.seek(SeekFrom::Start(offset))?;
        let mut header = [0; 30];
        let len = read_start(&mut file, &mut header)?;
        if len < header.len() || header[..4] != ENTRY {
            return Err(io::Error::other("there is no table in the ZIP archive"));
        }
        let u16_at = |at| u64::from(u16::from_le_bytes([header[at], header[at + 1]]));
        let (flags, method) = (u16_at(6), u16_at(8));
        let checksum = u32::from_le_bytes([header[14], header[15], header[16], header[17]]);
        let packed_len = u16_at(18) | u16_at(20) << 16;
        let (name_len, extra_len) = (u16_at(26), u16_at(28));
        let mut name = Vec::new();
        (&mut file).take(name_len).read_to_end(&mut name)?;
        let name = String::from_utf8_lossy(&name).into_owned();
        let content_at = offset + header.len() as u64 + name_len + extra_len;
        let has_len_behind = flags & 8 != 0;
        let is_text_about = name.to_lowercase().ends_with("readme.txt") || name.ends_with('/');
        if is_text_about && !has_len_behind {
            offset = content_at + packed_len;
            continue;
        }
        if flags & 1 != 0 {
            return Err(io::Error::other("the ZIP archive is encrypted"));
        }
        file.seek(SeekFrom::Start(content_at))?;
        let name = name.rsplit('/').next().unwrap_or_default().to_owned();
        return match method {
            0 if !has_len_behind => Ok((name, Box::new(BufReader::new(file).take(packed_len)))),
            8 => {
                let unpacked = DeflateDecoder::new(BufReader::new(file));
                let reader = Checked {
                    inner: CrcReader::new(unpacked),
                    checksum: (!has_len_behind).then_some(checksum),
                };
                Ok((name, Box::new(reader)))
            }
            _ => Err(io::Error::other(
                "the ZIP archive is compressed in a way that is not read: decompress it first",
            )),
        };
    }
}

/// A file of an archive, whose checksum is told before it or behind it.
struct Checked<R> {
    inner: CrcReader<DeflateDecoder<R>>,
    checksum: Option<u32>,
}

impl<R: BufRead> Checked<R> {
    /// What is behind a file that was packed before its length was known.
    fn checksum_behind(&mut self) -> io::Result<u32> {
        let file = self.inner.get_mut().get_mut();
        let mut word = [0; 4];
        file.read_exact(&mut word)?;
        if word == *b"PK\x07\x08" {
            file.read_exact(&mut word)?;
        }
        Ok(u32::from_le_bytes(word))
    }
}

impl<R: BufRead> Read for Checked<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let byte_count = self.inner.read(into)?;
        if byte_count == 0 && !into.is_empty() {
            let checksum = match self.checksum {
                Some(checksum) => checksum,
                None => self.checksum_behind()?,
            };
            if checksum != self.inner.crc().sum() {
                return Err(io::Error::other(
                    "the ZIP archive is damaged: wrong checksum",
                ));
            }
            self.checksum = Some(checksum);
        }
        Ok(byte_count)
    }
}

/// A reader that tells how much of it was read.
pub(super) struct Counted<R> {
    inner: R,
    read: Rc<Cell<u64>>,
}

#[cfg(feature = "parquet")]
impl<R> Counted<R> {
    pub(super) fn into_inner(self) -> R {
        self.inner
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let byte_count = self.inner.read(into)?;
        self.read.set(self.read.get() + byte_count as u64);
        Ok(byte_count)
    }
}

impl<R: Seek> Seek for Counted<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = self.inner.seek(to)?;
        self.read.set(at);
        Ok(at)
    }
}
