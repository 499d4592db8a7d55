//! OSM PBF: a file as the blocks that it is made of.
//!
//! <https://wiki.openstreetmap.org/wiki/PBF_Format>
//!
//! A file is a row of blobs: the length of a header (4 bytes, big-endian), the header, a blob.
//! The first blob says what a reader must know; each other is a [`block`](super::block) of elements.
//! Every length is checked: a damaged file gives an error with the offset of its block.

use super::ImportError;
use super::protobuf::{Fields, Value};
use std::io::{Read, Seek, SeekFrom};

/// The format's own limits: a header below 64 KiB, a blob of at most 32 MiB.
const MAX_HEADER_LEN: u32 = 64 << 10;
const MAX_BLOB_LEN: usize = 32 << 20;

/// What a file may require of its readers.
const KNOWN_FEATURES: [&[u8]; 3] = [b"OsmSchema-V0.6", b"DenseNodes", b"HistoricalInformation"];

type Result<T> = std::result::Result<T, ImportError>;

/// A file that is read blob by blob.
pub(super) struct Blobs<R> {
    reader: R,
    /// Of the next blob.
    offset: u64,
}

/// A part of the file, inflated.
struct Blob {
    kind: Vec<u8>,
    content: Vec<u8>,
    offset: u64,
}

impl<R: Read + Seek> Blobs<R> {
    /// Checks the first blob.
    pub(super) fn open(mut reader: R) -> Result<Self> {
        reader.seek(SeekFrom::Start(0))?;
        let mut blobs = Self { reader, offset: 0 };
        match blobs.next()? {
            Some(header) => check_features(&header.content)?,
            None => return Err(foreign("it is empty", 0)),
        }
        Ok(blobs)
    }

    /// Length of the file.
    pub(super) fn len(&mut self) -> Result<u64> {
        let len = self.reader.seek(SeekFrom::End(0))?;
        self.reader.seek(SeekFrom::Start(self.offset))?;
        Ok(len)
    }

    /// The block at an offset that [`Blobs::next_block`] told.
    pub(super) fn block_at(&mut self, offset: u64) -> Result<Vec<u8>> {
        self.offset = self.reader.seek(SeekFrom::Start(offset))?;
        match self.next_block()? {
            Some((_, block)) => Ok(block),
            None => Err(damaged("it was cut while it was read")(offset)),
        }
    }

    /// The next block of elements and its offset; `None` at the end of the file.
    pub(super) fn next_block(&mut self) -> Result<Option<(u64, Vec<u8>)>> {
        while let Some(blob) = self.next()? {
            // Blobs of other kinds are for readers that know them.
            if blob.kind == b"OSMData" {
                return Ok(Some((blob.offset, blob.content)));
            }
        }
        Ok(None)
    }

    fn next(&mut self) -> Result<Option<Blob>> {
        let offset = self.offset;
        let Some(header_len) = self.header_len()? else {
            return Ok(None);
        };
        let header = self.take(header_len as usize, offset)?;
        let (kind, blob_len) = read_blob_header(&header)
            .filter(|(kind, _)| offset > 0 || *kind == b"OSMHeader")
            .ok_or(if offset == 0 {
                foreign("it does not begin with an OSMHeader", 0)
            } else {
                damaged("its header is none")(offset)
            })?;
        let blob = self.take(blob_len, offset)?;
        let content = inflate(&blob, offset)?;
        Ok(Some(Blob {
            kind: kind.to_vec(),
            content,
            offset,
        }))
    }

    /// The length of the next header; `None` at the end of the file.
    fn header_len(&mut self) -> Result<Option<u32>> {
        let offset = self.offset;
        let mut len = Vec::with_capacity(4);
        self.reader.by_ref().take(4).read_to_end(&mut len)?;
        if len.is_empty() {
            return Ok(None);
        }
        self.offset += len.len() as u64;
        let len = <[u8; 4]>::try_from(len).map(u32::from_be_bytes);
        match len {
            Ok(len) if len > 0 && len < MAX_HEADER_LEN => Ok(Some(len)),
            _ if offset == 0 => Err(foreign("it does not begin with the length of a header", 0)),
            Ok(_) => Err(damaged("the length of its header is out of bounds")(offset)),
            Err(_) => Err(damaged("the file ends within it")(offset)),
        }
    }

    fn take(&mut self, len: usize, blob_offset: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(len);
        self.reader
            .by_ref()
            .take(len as u64)
            .read_to_end(&mut bytes)?;
        self.offset += bytes.len() as u64;
        if bytes.len() < len {
            return Err(damaged("the file ends within it")(blob_offset));
        }
        Ok(bytes)
    }
}

fn foreign(reason: &'static str, offset: u64) -> ImportError {
    ImportError::Foreign { reason, offset }
}

/// The error of a block, once its offset is known.
pub(super) fn damaged(reason: &'static str) -> impl FnOnce(u64) -> ImportError {
    move |offset| ImportError::Damaged { reason, offset }
}

fn read_blob_header(header: &[u8]) -> Option<(&[u8], usize)> {
    let (mut kind, mut len) = (&[][..], None);
    let mut fields = Fields(header);
    while let Some((number, value)) = fields.next().ok()? {
        match (number, value) {
            (1, Value::Bytes(text)) => kind = text,
            (3, Value::Number(number)) => len = usize::try_from(number).ok(),
            _ => {}
        }
    }
    len.filter(|len| *len <= MAX_BLOB_LEN)
        .map(|len| (kind, len))
}

fn inflate(blob: &[u8], offset: u64) -> Result<Vec<u8>> {
    let mut fields = Fields(blob);
    while let Some((number, value)) = fields.next().map_err(|e| damaged(e)(offset))? {
        let (feature, data) = match (number, value) {
            (1, Value::Bytes(raw)) => return Ok(raw.to_vec()),
            (3, Value::Bytes(data)) => ("", data),
            (4, Value::Bytes(data)) => ("LZMA compression", data),
            (5, Value::Bytes(data)) => ("bzip2 compression", data),
            (6, Value::Bytes(data)) => ("LZ4 compression", data),
            (7, Value::Bytes(data)) => ("Zstandard compression", data),
            _ => continue,
        };
        if !feature.is_empty() {
            let feature = feature.to_owned();
            return Err(ImportError::Unsupported { feature, offset });
        }
        return miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(data, MAX_BLOB_LEN)
            .map_err(|_| damaged("its content does not inflate")(offset));
    }
    Err(damaged("it has no content")(offset))
}

fn check_features(header: &[u8]) -> Result<()> {
    let mut fields = Fields(header);
    while let Some((number, value)) = fields.next().map_err(|e| damaged(e)(0))? {
        if let (4, Value::Bytes(feature)) = (number, value)
            && !KNOWN_FEATURES.contains(&feature)
        {
            return Err(ImportError::Unsupported {
                feature: String::from_utf8_lossy(feature).into_owned(),
                offset: 0,
            });
        }
    }
    Ok(())
}
