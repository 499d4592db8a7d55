//! Opening a places file: is it one, is it whole, and where are its parts.

use crate::layout::{
    self, HEADER_CHECKSUM_AT, HEADER_LEN, MAGIC, NODE_LEN, POINT_LEN, RECORD_LEN,
    SECTION_ENTRY_LEN, SECTIONS_AT, Section, VERSION,
};
use crate::place::Source;
use crate::tree;
use std::ops::Range;
use thiserror::Error;

/// Why bytes are not a places file. Offsets are in bytes from its start.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IndexError {
    /// It does not begin as a places file does.
    #[error("this is no places file: it begins with {found:02x?} (offset 0)")]
    BadMagic {
        /// Its first bytes, eight at most.
        found: Vec<u8>,
    },
    /// Another version of this program wrote it.
    #[error(
        "the places file has format version {found} (offset 8), and this program reads version {VERSION}: \
         import it again with this program"
    )]
    UnknownVersion {
        /// The version it says it has.
        found: u32,
    },
    /// It ends too early, as after a copy that was cut off, or too late.
    #[error("the places file has {actual} bytes and should have {expected}")]
    WrongLength {
        /// How many it should have, by its own header or for the header itself.
        expected: u64,
        /// How many it has.
        actual: u64,
    },
    /// Bytes have changed since it was written.
    #[error(
        "the places file is damaged: wrong checksum of its {section} ({length} bytes at offset {offset})"
    )]
    WrongChecksum {
        /// Which part of the file it is.
        section: &'static str,
        /// Where the part begins.
        offset: u64,
        /// How long the part is.
        length: u64,
    },
    /// Its parts do not fit each other, although their checksums are right: whoever wrote it erred.
    #[error("the places file contradicts itself: {reason} (offset {offset})")]
    Inconsistent {
        /// What does not fit.
        reason: &'static str,
        /// Where that is said.
        offset: u64,
    },
}

/// Where the parts of a file are, and its small tables.
pub(crate) struct Opened {
    pub(crate) place_count: usize,
    pub(crate) records: Range<usize>,
    pub(crate) strings: Range<usize>,
    pub(crate) points: Range<usize>,
    pub(crate) nodes: Range<usize>,
    pub(crate) level_lens: Vec<usize>,
    pub(crate) tables: Tables,
}

/// What many places share.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    pub(crate) sources: Vec<Source>,
    pub(crate) namespaces: Vec<String>,
    pub(crate) types: Vec<String>,
    pub(crate) type_sets: Vec<Vec<u16>>,
    pub(crate) time_zones: Vec<String>,
}

/// Checks everything: the whole file is read once.
pub(crate) fn open_checked(file: &[u8]) -> Result<Opened, IndexError> {
    verify(file)?;
    open_trusted(file)
}

/// Checks the header and the checksums of all sections.
pub(crate) fn verify(file: &[u8]) -> Result<(), IndexError> {
    check_header(file)?;
    Section::ALL
        .into_iter()
        .try_for_each(|section| check_section(file, section))
}

/// Checks what a look-up relies on, and of the checksums those of the header and the tables.
pub(crate) fn open_unverified(file: &[u8]) -> Result<Opened, IndexError> {
    check_header(file)?;
    check_section(file, Section::Tables)?;
    open_trusted(file)
}

fn check_section(file: &[u8], section: Section) -> Result<(), IndexError> {
    let (range, checksum) = section_entry(file, section);
    let bytes = slice(file, section, &range)?;
    if crc32c::crc32c(bytes) != checksum {
        return Err(IndexError::WrongChecksum {
            section: section.name(),
            offset: range.start,
            length: range.end.saturating_sub(range.start),
        });
    }
    Ok(())
}

/// Checks what a search relies on, and no checksums: for bytes that are part of the program.
pub(crate) fn open_trusted(file: &[u8]) -> Result<Opened, IndexError> {
    check_header(file)?;
    let place_count = layout::u32_at(file, 12) as usize;
    let level_lens = tree::level_lens(place_count);
    let node_count: usize = level_lens.iter().sum();
    let tables = section_range(file, Section::Tables)?;
    let opened = Opened {
        place_count,
        records: section_of(file, Section::Records, place_count, RECORD_LEN)?,
        strings: section_range(file, Section::Strings)?,
        points: section_of(file, Section::Points, place_count, POINT_LEN)?,
        nodes: section_of(file, Section::Nodes, node_count, NODE_LEN)?,
        level_lens,
        tables: read_tables(&file[tables.clone()], tables.start)?,
    };
    Ok(opened)
}

fn check_header(file: &[u8]) -> Result<(), IndexError> {
    let start = &file[..file.len().min(MAGIC.len())];
    if !MAGIC.starts_with(start) || start.is_empty() {
        return Err(IndexError::BadMagic {
            found: start.to_vec(),
        });
    }
    if file.len() >= 12 && layout::u32_at(file, 8) != VERSION {
        return Err(IndexError::UnknownVersion {
            found: layout::u32_at(file, 8),
        });
    }
    check_length(
        file,
        HEADER_LEN as u64,
        (file.len() as u64) < HEADER_LEN as u64,
    )?;
    if crc32c::crc32c(&file[..HEADER_CHECKSUM_AT]) != layout::u32_at(file, HEADER_CHECKSUM_AT) {
        return Err(IndexError::WrongChecksum {
            section: "header",
            offset: 0,
            length: HEADER_LEN as u64,
        });
    }
    let expected = layout::u64_at(file, 16);
    check_length(file, expected, file.len() as u64 != expected)
}

fn check_length(file: &[u8], expected: u64, is_wrong: bool) -> Result<(), IndexError> {
    if is_wrong {
        return Err(IndexError::WrongLength {
            expected,
            actual: file.len() as u64,
        });
    }
    Ok(())
}

const fn entry_at(section: Section) -> usize {
    SECTIONS_AT + section as usize * SECTION_ENTRY_LEN
}

/// Where the header says that a section is, and its checksum.
fn section_entry(file: &[u8], section: Section) -> (Range<u64>, u32) {
    let at = entry_at(section);
    let offset = layout::u64_at(file, at);
    let end = offset.saturating_add(layout::u64_at(file, at + 8));
    (offset..end, layout::u32_at(file, at + 16))
}

fn slice<'a>(file: &'a [u8], section: Section, range: &Range<u64>) -> Result<&'a [u8], IndexError> {
    let range = usize::try_from(range.start)
        .ok()
        .zip(usize::try_from(range.end).ok());
    range
        .and_then(|(start, end)| file.get(start..end))
        .ok_or(IndexError::Inconsistent {
            reason: "a section is said to lie outside of the file",
            offset: entry_at(section) as u64,
        })
}

fn section_range(file: &[u8], section: Section) -> Result<Range<usize>, IndexError> {
    let (range, _) = section_entry(file, section);
    slice(file, section, &range)?;
    Ok(range.start as usize..range.end as usize)
}

/// The range of a section that has `count` entries of one length.
fn section_of(
    file: &[u8],
    section: Section,
    count: usize,
    entry_len: usize,
) -> Result<Range<usize>, IndexError> {
    let range = section_range(file, section)?;
    if count.checked_mul(entry_len) != Some(range.len()) {
        return Err(IndexError::Inconsistent {
            reason: "a section is too long or too short for the number of places",
            offset: entry_at(section) as u64,
        });
    }
    Ok(range)
}

fn read_tables(bytes: &[u8], start: usize) -> Result<Tables, IndexError> {
    let mut rest = bytes;
    let mut next_list = || {
        read_texts(&mut rest).ok_or(IndexError::Inconsistent {
            reason: "a table ends too early",
            offset: start as u64,
        })
    };
    let (sources, namespaces) = (next_list()?, next_list()?);
    let (types, type_sets) = (next_list()?, next_list()?);
    let time_zones = next_list()?;
    let text = |bytes: &&[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (sources, _) = sources.as_chunks::<3>();
    Ok(Tables {
        sources: sources
            .iter()
            .map(|[name, licence, attribution]| Source {
                name: text(name),
                licence: text(licence),
                attribution: text(attribution),
            })
            .collect(),
        namespaces: namespaces.iter().map(text).collect(),
        types: types.iter().map(text).collect(),
        type_sets: type_sets.iter().map(|set| read_numbers(set)).collect(),
        time_zones: time_zones.iter().map(text).collect(),
    })
}

/// Reads a list of texts off the front of `rest`; `None` where it ends too early.
fn read_texts<'a>(rest: &mut &'a [u8]) -> Option<Vec<&'a [u8]>> {
    let count = read_u32(rest)?;
    // No capacity ahead: the count may be forged, and then ends with the bytes.
    let mut texts = Vec::new();
    for _ in 0..count {
        let len = read_u32(rest)? as usize;
        let (text, after) = rest.split_at_checked(len)?;
        texts.push(text);
        *rest = after;
    }
    Some(texts)
}

fn read_u32(rest: &mut &[u8]) -> Option<u32> {
    let (number, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_le_bytes(*number))
}

fn read_numbers(set: &[u8]) -> Vec<u16> {
    let (numbers, _) = set.as_chunks::<2>();
    numbers.iter().copied().map(u16::from_le_bytes).collect()
}
