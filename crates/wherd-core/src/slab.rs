//! Memory for many small records: one behind the other in chunks, without a header, a pointer or an
//! allocation for each.

/// What lengths are rounded up to.
const UNIT_BYTES: usize = 8;
const CHUNK_BYTES: usize = 64 * 1024;
const CHUNK_UNITS: u32 = (CHUNK_BYTES / UNIT_BYTES) as u32;
/// A longer record has a chunk of its own.
const MAX_SHARED_BYTES: usize = 4096;

/// Where a record is: the units before it, where all chunks are full ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location(u32);

impl Location {
    /// No record is there.
    pub(crate) const NONE: Self = Self(u32::MAX);

    const fn new(chunk: usize, unit: u32) -> Self {
        assert!(chunk < (u32::MAX / CHUNK_UNITS) as usize);
        Self(chunk as u32 * CHUNK_UNITS + unit)
    }

    const fn chunk(self) -> usize {
        (self.0 / CHUNK_UNITS) as usize
    }

    const fn byte(self) -> usize {
        (self.0 % CHUNK_UNITS) as usize * UNIT_BYTES
    }
}

/// Records of bytes. Who has one knows its length.
#[derive(Debug, Default)]
pub(crate) struct Slab {
    chunks: Vec<Box<[u8]>>,
    /// Room that was given back, by its length in units.
    free: Vec<Vec<Location>>,
    /// Chunks without memory, whose numbers are used again.
    empty_chunks: Vec<u32>,
    /// The chunk that is filled just now, and the units of it that are taken.
    current: Option<(usize, u32)>,
    free_bytes: usize,
    taken_bytes: usize,
}

impl Slab {
    /// Bytes of records, as they are rounded up.
    pub(crate) const fn taken_bytes(&self) -> usize {
        self.taken_bytes
    }

    /// Bytes that were given back, and wait for a record of their length.
    pub(crate) const fn free_bytes(&self) -> usize {
        self.free_bytes
    }

    /// Whether a record of one length has room for one of another, and no more.
    pub(crate) const fn is_same_room(bytes: usize, others: usize) -> bool {
        bytes.div_ceil(UNIT_BYTES) == others.div_ceil(UNIT_BYTES)
    }

    /// What begins at a location; longer than the record that is there.
    #[inline]
    pub(crate) fn from(&self, location: Location) -> &[u8] {
        &self.chunks[location.chunk()][location.byte()..]
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, location: Location, bytes: usize) -> &mut [u8] {
        &mut self.chunks[location.chunk()][location.byte()..][..bytes]
    }

    /// Room for a record.
    pub(crate) fn take(&mut self, bytes: usize) -> Location {
        let units = bytes.div_ceil(UNIT_BYTES);
        self.taken_bytes += units * UNIT_BYTES;
        if bytes > MAX_SHARED_BYTES {
            let chunk = self.add_chunk(units * UNIT_BYTES);
            return Location::new(chunk, 0);
        }
        if let Some(location) = self.free.get_mut(units).and_then(Vec::pop) {
            self.free_bytes -= units * UNIT_BYTES;
            return location;
        }
        let room = self
            .current
            .filter(|(_, used)| used + units as u32 <= CHUNK_UNITS);
        let (chunk, used) = room.unwrap_or_else(|| {
            self.give_back_rest();
            (self.add_chunk(CHUNK_BYTES), 0)
        });
        self.current = Some((chunk, used + units as u32));
        Location::new(chunk, used)
    }

    /// Gives back the room of a record.
    pub(crate) fn give_back(&mut self, location: Location, bytes: usize) {
        let units = bytes.div_ceil(UNIT_BYTES);
        self.taken_bytes -= units * UNIT_BYTES;
        if bytes > MAX_SHARED_BYTES {
            self.chunks[location.chunk()] = Box::default();
            self.empty_chunks.push(location.chunk() as u32);
        } else {
            self.add_free(location, units);
        }
    }

    /// What is left of the chunk that is filled, for records that are short enough.
    fn give_back_rest(&mut self) {
        if let Some((chunk, used)) = self.current.take()
            && used < CHUNK_UNITS
        {
            self.add_free(Location::new(chunk, used), (CHUNK_UNITS - used) as usize);
        }
    }

    fn add_free(&mut self, location: Location, units: usize) {
        if self.free.len() <= units {
            self.free.resize_with(units + 1, Vec::new);
        }
        self.free[units].push(location);
        self.free_bytes += units * UNIT_BYTES;
    }

    fn add_chunk(&mut self, bytes: usize) -> usize {
        let chunk = vec![0; bytes].into_boxed_slice();
        if let Some(index) = self.empty_chunks.pop() {
            self.chunks[index as usize] = chunk;
            return index as usize;
        }
        self.chunks.push(chunk);
        self.chunks.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How many chunks have memory.
    fn chunk_count(slab: &Slab) -> usize {
        slab.chunks.len() - slab.empty_chunks.len()
    }

    #[test]
    fn room_is_used_again_by_records_of_its_length() {
        let mut slab = Slab::default();
        let first = slab.take(101);
        let second = slab.take(101);
        slab.give_back(first, 101);
        assert_eq!((slab.taken_bytes(), slab.free_bytes()), (104, 104));
        assert_ne!(slab.take(96), first, "too long for it");
        assert_eq!(slab.take(104), first);
        slab.give_back(second, 101);
        assert_eq!(chunk_count(&slab), 1);
    }

    #[test]
    fn a_long_record_gives_its_memory_back() {
        let mut slab = Slab::default();
        let long = slab.take(100_000);
        assert_eq!(slab.get_mut(long, 100_000).len(), 100_000);
        slab.give_back(long, 100_000);
        assert_eq!((chunk_count(&slab), slab.free_bytes()), (0, 0));
        let other = slab.take(50_000);
        assert_eq!((other, chunk_count(&slab)), (long, 1));
    }

    #[test]
    fn a_record_never_crosses_the_end_of_a_chunk() {
        let mut slab = Slab::default();
        for _ in 0..1000 {
            let location = slab.take(4096 - 8);
            assert_eq!(slab.get_mut(location, 4096 - 8).len(), 4096 - 8);
        }
        // Sixteen and a rest of 128 bytes in each, which a short record gets.
        assert_eq!(chunk_count(&slab), 63);
        assert_eq!(slab.free_bytes(), 62 * 128);
        slab.take(128);
        assert_eq!(slab.free_bytes(), 61 * 128);
    }

    proptest! {
        /// Records of any lengths, taken and given back in any order, never share a byte.
        #[test]
        fn no_record_is_in_anothers_room(steps in proptest::collection::vec((any::<bool>(), 1..9000_usize), 1..200)) {
            let mut slab = Slab::default();
            let mut held: Vec<(Location, usize, u8)> = Vec::new();
            for (number, (is_taken, bytes)) in steps.into_iter().enumerate() {
                if is_taken || held.is_empty() {
                    let (location, mark) = (slab.take(bytes), number as u8);
                    slab.get_mut(location, bytes).fill(mark);
                    held.push((location, bytes, mark));
                } else {
                    let (location, bytes, _) = held.swap_remove(bytes % held.len());
                    slab.give_back(location, bytes);
                }
                for (location, bytes, mark) in &held {
                    let record = &slab.from(*location)[..*bytes];
                    prop_assert!(record.iter().all(|byte| byte == mark));
                }
            }
            let taken: usize = held.iter().map(|(_, bytes, _)| bytes.next_multiple_of(UNIT_BYTES)).sum();
            prop_assert_eq!(slab.taken_bytes(), taken);
        }
    }
}
