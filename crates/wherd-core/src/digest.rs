//! Whether two tables are equal, without comparing them.

/// How many buckets a digest has: where two differ, one in 4,096 of the clients is looked at.
const BUCKETS: usize = 4096;

/// Sums of the hashes of all entries, by bucket of their client.
///
/// Sums, because they are kept up to date by an addition and a subtraction for each update and do
/// not depend on the order. Equal tables have equal digests; different ones differ but for one
/// chance in 2^64.
#[derive(Debug)]
pub struct Digest {
    buckets: Box<[u64]>,
    total: u64,
}

impl Default for Digest {
    fn default() -> Self {
        Self {
            buckets: vec![0; BUCKETS].into_boxed_slice(),
            total: 0,
        }
    }
}

impl Digest {
    /// Takes the place of an entry's hash, 0 where there was none, by that of its successor.
    pub(crate) fn replace(&mut self, client: &[u8], old_hash: u64, new_hash: u64) {
        let bucket = xxhash_rust::xxh3::xxh3_64(client) as usize % BUCKETS;
        let change = new_hash.wrapping_sub(old_hash);
        self.buckets[bucket] = self.buckets[bucket].wrapping_add(change);
        self.total = self.total.wrapping_add(change);
    }

    /// All of the table in one number.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The sums, to find where two tables differ.
    #[must_use]
    pub const fn buckets(&self) -> &[u64] {
        &self.buckets
    }
}
