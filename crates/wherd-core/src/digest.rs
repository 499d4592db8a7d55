//! Whether two tables are equal, without comparing them.

use wherd_proto::frame::BUCKETS;

/// Sums of the hashes of all entries, by bucket of their client.
///
/// Sums, because an entry that changed is taken out and put in again without the others, and the
/// order does not matter. Equal tables have equal digests; different ones differ but for one
/// chance in 2^64.
#[derive(Clone, Debug)]
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
        let bucket = bucket_of(client);
        let change = new_hash.wrapping_sub(old_hash);
        self.buckets[bucket] = self.buckets[bucket].wrapping_add(change);
        self.total = self.total.wrapping_add(change);
    }

    /// All of the table in one number.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The buckets in which another table differs, as its sums tell.
    pub(crate) fn differing(&self, theirs: &[u64]) -> BucketSet {
        let mut set = BucketSet::default();
        let pairs = self.buckets.iter().zip(theirs).enumerate();
        for (bucket, (_, _)) in pairs.filter(|(_, (mine, theirs))| mine != theirs) {
            set.0[bucket / 64] |= 1 << (bucket % 64);
        }
        set
    }

    /// The sums, to find where two tables differ.
    #[must_use]
    pub const fn buckets(&self) -> &[u64] {
        &self.buckets
    }
}

/// Some of the buckets.
#[derive(Clone, Debug)]
pub(crate) struct BucketSet(Box<[u64]>);

impl Default for BucketSet {
    fn default() -> Self {
        Self(vec![0; BUCKETS / 64].into_boxed_slice())
    }
}

impl BucketSet {
    /// Whether a client's bucket is among them.
    pub(crate) fn has(&self, client: &[u8]) -> bool {
        let bucket = bucket_of(client);
        self.0[bucket / 64] >> (bucket % 64) & 1 == 1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

fn bucket_of(client: &[u8]) -> usize {
    xxhash_rust::xxh3::xxh3_64(client) as usize % BUCKETS
}
