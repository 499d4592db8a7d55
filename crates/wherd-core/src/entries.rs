//! The table of newest reports: client to entry.

use crate::bits::Bits;
use crate::digest::Digest;
use crate::slab::{Location, Slab};
use crate::version_vector::{OriginIndex, Origins};
use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use std::cmp::Ordering;
use std::hash::Hasher;
use std::hint::black_box;
use wherd_proto::{AtText, Update};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What stands for a client within one replica: its place in the table, until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientIndex(pub(crate) u32);

/// The newest report of one client, as its record has it: numbers of fixed lengths, little-endian,
/// and the text behind them.
///
/// The text is the client's own, so an entry is found by the client ID in it and nothing is kept
/// twice. What can be made of the text, as the position, is not kept at all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a>(&'a [u8]);

/// Of a record without its text: when it is ordered, its number, its origin, the length of its text
/// and of the skew and the client ID in it.
const HEADER_BYTES: usize = 8 + 8 + 3 + 3 + 1 + 1;
/// A number of three bytes is below this.
const THREE_BYTES: usize = 1 << 24;
/// How many clients are looked up together.
pub(crate) const GROUP: usize = 16;
/// So many clients are near anyway: they fit into a processor's second cache.
const NEAR_COUNT: usize = 5000;
/// Room that is free for other lengths than those that are wanted is given back beyond this, and
/// beyond what is taken.
const MAX_FREE_BYTES: usize = 1 << 20;

impl<'a> Entry<'a> {
    /// The record that `bytes` begins with.
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        Self(&bytes[..HEADER_BYTES + three_bytes(bytes, 19)])
    }

    /// A copy of the record.
    #[cfg(feature = "mutants")]
    pub(crate) fn to_record(self) -> Box<[u8]> {
        self.0.into()
    }

    /// Whether it says that its client is forgotten.
    pub(crate) fn is_forgotten(self) -> bool {
        self.at().is_forgotten()
    }

    pub(crate) fn ordered_at_ns(self) -> i64 {
        self.number(0) as i64
    }

    pub(crate) fn origin(self) -> OriginIndex {
        OriginIndex(three_bytes(self.0, 16) as u32)
    }

    pub(crate) fn sequence(self) -> u64 {
        self.number(8)
    }

    /// How many bytes its text has.
    pub(crate) const fn text_bytes(self) -> usize {
        self.0.len() - HEADER_BYTES
    }

    pub(crate) fn update(self) -> Update<'a> {
        Update {
            sequence: self.sequence(),
            ordered_at_ns: self.ordered_at_ns(),
            at: self.at(),
        }
    }

    pub(crate) fn at(self) -> AtText<'a> {
        AtText::from_parts(&self.0[HEADER_BYTES..], self.0[22], self.0[23])
    }

    fn number(self, start: usize) -> u64 {
        let bytes = self.0[start..].first_chunk().copied();
        u64::from_le_bytes(bytes.unwrap_or_default())
    }

    fn hash(self, origins: &Origins) -> u64 {
        hash_entry(origins, self.origin(), &self.update())
    }

    /// Writes a record of the length that it has to have.
    fn write(record: &mut [u8], update: &Update<'_>, origin: OriginIndex) {
        let text = update.at.as_bytes();
        let (header, rest) = record.split_at_mut(HEADER_BYTES);
        header[..8].copy_from_slice(&update.ordered_at_ns.to_le_bytes());
        header[8..16].copy_from_slice(&update.sequence.to_le_bytes());
        header[16..19].copy_from_slice(&origin.0.to_le_bytes()[..3]);
        header[19..22].copy_from_slice(&(text.len() as u32).to_le_bytes()[..3]);
        header[22] = update.at.skew_bytes();
        header[23] = update.at.client_bytes();
        rest.copy_from_slice(text);
    }
}

fn three_bytes(bytes: &[u8], start: usize) -> usize {
    let [low, middle, high] = bytes[start..].first_chunk().copied().unwrap_or_default();
    u32::from_le_bytes([low, middle, high, 0]) as usize
}

/// How an update compares to what the table had of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    /// It is the newest and is held.
    Newest(ClientIndex),
    /// It was held already.
    Held(ClientIndex),
    /// A newer one is held; the table did not change.
    Older(ClientIndex),
}

/// Entries that the digest does not have.
///
/// Of few clients each may be one: who reports often is hashed when a digest is asked for, and not
/// at each report. Of many none is: hardly any of them would be hashed less often, and each would
/// be looked for once more, far away.
#[derive(Default)]
struct Unsummed {
    places: Vec<u32>,
    /// Whether a place is among them.
    members: Bits,
}

impl Unsummed {
    /// Whether it was not among them.
    fn add(&mut self, place: u32) -> bool {
        let is_new = !self.members.has(place);
        if is_new {
            self.members.set(place);
            self.places.push(place);
        }
        is_new
    }
}

/// The entries, one for each client.
pub(crate) struct Entries {
    by_client: HashTable<u32>,
    /// Where the record of each place is; nowhere, where the place is free.
    locations: Vec<Location>,
    records: Slab,
    vacant: Vec<u32>,
    forgotten_count: usize,
    text_bytes: usize,
    /// Of all entries but some.
    digest: Digest,
    unsummed: Unsummed,
    /// Clients choose their IDs: without a secret, they could choose ones that collide.
    hash_keys: (u64, u64),
}

impl Entries {
    pub(crate) fn new(hash_keys: (u64, u64)) -> Self {
        Self {
            by_client: HashTable::new(),
            locations: Vec::new(),
            records: Slab::default(),
            vacant: Vec::new(),
            forgotten_count: 0,
            text_bytes: 0,
            digest: Digest::default(),
            unsummed: Unsummed::default(),
            hash_keys,
        }
    }

    /// How many clients have an entry, those that are forgotten too.
    pub(crate) const fn count(&self) -> usize {
        self.locations.len() - self.vacant.len()
    }

    /// How many of them are forgotten.
    pub(crate) const fn forgotten_count(&self) -> usize {
        self.forgotten_count
    }

    /// How many places there are: every [`ClientIndex`] is below.
    pub(crate) const fn places_count(&self) -> usize {
        self.locations.len()
    }

    /// How many bytes their texts have in all.
    pub(crate) const fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// The digest of all entries.
    pub(crate) fn digest(&self, origins: &Origins) -> Digest {
        let mut digest = self.digest.clone();
        for place in &self.unsummed.places {
            let entry = self.get(ClientIndex(*place));
            digest.replace(entry.at().client(), 0, entry.hash(origins));
        }
        digest
    }

    /// Lets the digest have every entry.
    fn sum_up(&mut self, origins: &Origins) {
        for place in self.unsummed.places.drain(..) {
            self.unsummed.members.unset(place);
            let entry = Entry::of(self.records.from(self.locations[place as usize]));
            let hash = entry.hash(origins);
            self.digest.replace(entry.at().client(), 0, hash);
        }
    }

    /// The entry at a place; `None` where the place is free.
    pub(crate) fn at(&self, place: u32) -> Option<Entry<'_>> {
        let location = self.locations[place as usize];
        (location != Location::NONE).then(|| Entry::of(self.records.from(location)))
    }

    /// The entry of a client that was found.
    pub(crate) fn get(&self, client: ClientIndex) -> Entry<'_> {
        self.at(client.0).expect("a client that is known")
    }

    pub(crate) fn find(&self, client: &[u8]) -> Option<ClientIndex> {
        self.find_hashed(self.hash(client), client)
    }

    /// What a client is found by.
    pub(crate) fn hash(&self, client: &[u8]) -> u64 {
        hash_client(self.hash_keys, client)
    }

    /// Finds a client of which the hash is known.
    pub(crate) fn find_hashed(&self, hash: u64, client: &[u8]) -> Option<ClientIndex> {
        self.find_entry(hash, client).map(|(client, _)| client)
    }

    fn find_entry(&self, hash: u64, client: &[u8]) -> Option<(ClientIndex, Entry<'_>)> {
        let places = self.by_client.iter_hash(hash).copied().map(ClientIndex);
        let mut entries = places.map(|place| (place, self.get(place)));
        entries.find(|(_, entry)| entry.at().client() == client)
    }

    /// Brings what is held of some clients into the processor's caches, a group at a time: each step
    /// of one is independent of the same step of the others, so they wait for the memory together.
    /// Among a million clients nothing of one is near.
    pub(crate) fn touch(&self, hashes: &[u64]) {
        if self.count() <= NEAR_COUNT {
            return;
        }
        let places = hashes
            .iter()
            .map(|hash| self.by_client.find(*hash, |_| true));
        self.touch_places(places.flatten().copied());
    }

    /// The same for clients whose places are known.
    pub(crate) fn touch_places(&self, places: impl Iterator<Item = u32>) {
        let mut locations = [Location::NONE; GROUP];
        for (location, place) in locations.iter_mut().zip(places) {
            *location = self.locations[place as usize];
        }
        let mut sum = 0_u8;
        for location in locations {
            if location != Location::NONE {
                let record = self.records.from(location);
                // The line with its beginning, and the next.
                sum = sum.wrapping_add(record[0]);
                sum = sum.wrapping_add(record.get(64).copied().unwrap_or_default());
            }
        }
        black_box(sum);
    }

    /// Holds an update if it precedes what is held of its client, of which the hash is known.
    pub(crate) fn merge(
        &mut self,
        origins: &Origins,
        (hash, update): (u64, &Update<'_>),
        origin: OriginIndex,
        is_tie_ignored: bool,
    ) -> Merge {
        let Some((client, held)) = self.find_entry(hash, update.at.client()) else {
            return Merge::Newest(self.insert(origins, (hash, update), origin));
        };
        let order = match update.ordered_at_ns.cmp(&held.ordered_at_ns()) {
            Ordering::Equal if is_tie_ignored => Ordering::Less,
            // The total order that picks the newest, the same on every server.
            //
            // Of equal times the later report to one server wins, since a client whose clock ticks
            // seconds says two things in one; between servers the name decides.
            Ordering::Equal => {
                let this = (origins.get(origin), update.sequence);
                this.cmp(&(origins.get(held.origin()), held.sequence()))
            }
            order => order,
        };
        // The same update with another text: a bit changed somewhere. One of the two wins
        // everywhere, or no repair would come to an end.
        let order = order.then_with(|| {
            let hash = hash_entry(origins, origin, update);
            hash.cmp(&held.hash(origins))
        });
        match order {
            Ordering::Greater => {
                self.replace(client, origins, update, origin);
                Merge::Newest(client)
            }
            Ordering::Equal => Merge::Held(client),
            Ordering::Less => Merge::Older(client),
        }
    }

    fn insert(
        &mut self,
        origins: &Origins,
        (hash, update): (u64, &Update<'_>),
        origin: OriginIndex,
    ) -> ClientIndex {
        let location = self.records.take(record_bytes(update));
        self.write(location, update, origin);
        let place = match self.vacant.pop() {
            Some(place) => {
                self.locations[place as usize] = location;
                place
            }
            None => {
                let place = self.locations.len();
                assert!(place < u32::MAX as usize, "fewer clients than 2^32");
                self.locations.push(location);
                place as u32
            }
        };
        let new_hash = hash_entry(origins, origin, update);
        self.digest.replace(update.at.client(), 0, new_hash);
        if self.count() > NEAR_COUNT {
            self.sum_up(origins);
        }
        if self.by_client.len() == self.by_client.capacity() {
            self.grow();
        } else {
            self.by_client.insert_unique(hash, place, no_growth);
        }
        ClientIndex(place)
    }

    /// Makes a larger table of all places, in their order: records lie in that order, too, mostly,
    /// where the table itself would ask for them in the order of their hashes, and wait for each.
    fn grow(&mut self) {
        // At least by half, so that it is seldom, though removed ones left holes.
        let mut grown = HashTable::with_capacity(self.by_client.len() * 3 / 2 + 4);
        for (place, location) in (0_u32..).zip(&self.locations) {
            if *location != Location::NONE {
                let entry = Entry::of(self.records.from(*location));
                grown.insert_unique(self.hash(entry.at().client()), place, no_growth);
            }
        }
        self.by_client = grown;
    }

    /// Removes an entry as if it had never been.
    pub(crate) fn remove(&mut self, ClientIndex(place): ClientIndex, origins: &Origins) {
        self.sum_up(origins);
        let Some(entry) = self.at(place) else {
            return;
        };
        let (client, old_hash) = (entry.at().client(), entry.hash(origins));
        let hash = self.hash(client);
        let bucket = self.by_client.find_entry(hash, |found| *found == place);
        if let Ok(found) = bucket {
            found.remove();
        }
        let location = std::mem::replace(&mut self.locations[place as usize], Location::NONE);
        let entry = Entry::of(self.records.from(location));
        let bytes = entry.0.len();
        self.digest.replace(entry.at().client(), old_hash, 0);
        self.uncount(location);
        self.records.give_back(location, bytes);
        self.vacant.push(place);
        self.give_back_memory();
    }

    fn replace(
        &mut self,
        client: ClientIndex,
        origins: &Origins,
        update: &Update<'_>,
        origin: OriginIndex,
    ) {
        let location = self.locations[client.0 as usize];
        let held = Entry::of(self.records.from(location));
        let (old_bytes, new_bytes) = (held.0.len(), record_bytes(update));
        if self.count() > NEAR_COUNT {
            let (old_hash, new_hash) = (held.hash(origins), hash_entry(origins, origin, update));
            self.digest.replace(update.at.client(), old_hash, new_hash);
        } else if self.unsummed.add(client.0) {
            self.digest
                .replace(update.at.client(), held.hash(origins), 0);
        }
        self.uncount(location);
        if Slab::is_same_room(old_bytes, new_bytes) {
            self.write(location, update, origin);
        } else {
            self.records.give_back(location, old_bytes);
            let location = self.records.take(new_bytes);
            self.write(location, update, origin);
            self.locations[client.0 as usize] = location;
            self.give_back_memory();
        }
    }

    /// Writes a record where there is room for it, and counts it.
    fn write(&mut self, location: Location, update: &Update<'_>, origin: OriginIndex) {
        let bytes = record_bytes(update);
        assert!(bytes < THREE_BYTES && (origin.0 as usize) < THREE_BYTES);
        self.forgotten_count += usize::from(update.at.is_forgotten());
        self.text_bytes += update.at.as_bytes().len();
        Entry::write(self.records.get_mut(location, bytes), update, origin);
    }

    /// The record there is counted no more.
    fn uncount(&mut self, location: Location) {
        let entry = Entry::of(self.records.from(location));
        self.forgotten_count -= usize::from(entry.is_forgotten());
        self.text_bytes -= entry.text_bytes();
    }

    /// Moves all records together where more is free than taken: texts of other lengths, or many
    /// clients that are gone, left it behind. It is as much work as there were changes since.
    fn give_back_memory(&mut self) {
        if self.records.free_bytes() <= self.records.taken_bytes().max(MAX_FREE_BYTES) {
            return;
        }
        let mut records = Slab::default();
        for location in &mut self.locations {
            if *location != Location::NONE {
                let record = Entry::of(self.records.from(*location)).0;
                *location = records.take(record.len());
                records
                    .get_mut(*location, record.len())
                    .copy_from_slice(record);
            }
        }
        self.records = records;
    }
}

/// For a table that has room for one more.
fn no_growth(_: &u32) -> u64 {
    unreachable!("the table has room")
}

const fn record_bytes(update: &Update<'_>) -> usize {
    HEADER_BYTES + update.at.as_bytes().len()
}

pub(crate) fn hash_client(keys: (u64, u64), client: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(keys.0, keys.1);
    hasher.write(client);
    hasher.finish()
}

/// The same on every server: by it they see whether they hold the same.
///
/// The origin counts: its name stands in the client's AT line, and is not in the text.
fn hash_entry(origins: &Origins, origin: OriginIndex, update: &Update<'_>) -> u64 {
    let seed = origins.seed(origin)
        ^ update.ordered_at_ns.unsigned_abs()
        ^ update.sequence.rotate_left(32);
    xxh3_64_with_seed(update.at.as_bytes(), seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use wherd_proto::{Origin, ServerName};

    const ME: OriginIndex = OriginIndex(0);

    fn origins() -> Origins {
        let mut origins = Origins::default();
        let server = ServerName::new("Hill").expect("a name");
        origins.intern(&Origin {
            server,
            incarnation: 1,
        });
        origins
    }

    /// Merges a client's report at a time, its text as long as is said; whether it is the newest.
    fn merge(entries: &mut Entries, origins: &Origins, client: u32, at: u64, zeros: usize) -> bool {
        let text = format!("+0.000000001 c{client} +1-2 {at}.{:0>zeros$}", 0);
        let update = Update {
            sequence: at,
            ordered_at_ns: at as i64,
            at: AtText::parse(text.as_bytes()).expect("an AT text"),
        };
        let hash = entries.hash(update.at.client());
        let merge = entries.merge(origins, (hash, &update), ME, false);
        matches!(merge, Merge::Newest(_))
    }

    /// Clients come, go, and say longer and shorter things; a plain map says what is held.
    #[test]
    fn what_was_merged_last_is_found_however_much_came_and_went() {
        let (mut entries, origins) = (Entries::new((1, 2)), origins());
        let mut held: BTreeMap<u32, (u64, usize)> = BTreeMap::new();
        let mut random = 1_u64;
        for at in 1..60_000 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let client = (random >> 33) as u32 % 3000;
            let zeros = (random >> 50) as usize % 200 + 1;
            if random >> 60 < 6 {
                let found = entries.find(format!("c{client}").as_bytes());
                assert_eq!(found.is_some(), held.remove(&client).is_some());
                if let Some(found) = found {
                    entries.remove(found, &origins);
                }
            } else {
                assert!(merge(&mut entries, &origins, client, at, zeros));
                held.insert(client, (at, zeros));
            }
        }
        assert_eq!(entries.count(), held.len());
        let mut text_bytes = 0;
        let mut again = Entries::new((1, 2));
        for (client, (at, zeros)) in &held {
            let found = entries.find(format!("c{client}").as_bytes());
            let entry = entries.get(found.expect("it is held"));
            assert_eq!(entry.ordered_at_ns(), *at as i64);
            text_bytes += entry.text_bytes();
            merge(&mut again, &origins, *client, *at, *zeros);
        }
        assert_eq!(entries.text_bytes(), text_bytes);
        assert_eq!(
            entries.digest(&origins).total(),
            again.digest(&origins).total()
        );
        let (free, taken) = (entries.records.free_bytes(), entries.records.taken_bytes());
        assert!(
            free <= taken.max(MAX_FREE_BYTES),
            "{free} free, {taken} taken"
        );
    }

    /// A year of texts of one length, and then of another: the room of the first is not kept.
    #[test]
    fn room_of_another_length_is_given_back() {
        let (mut entries, origins) = (Entries::new((1, 2)), origins());
        for (at, zeros) in [(1, 1), (2, 90), (3, 180), (4, 60)] {
            for client in 0..30_000 {
                assert!(merge(&mut entries, &origins, client, at, zeros));
            }
            let (free, taken) = (entries.records.free_bytes(), entries.records.taken_bytes());
            assert!(
                free <= taken.max(MAX_FREE_BYTES),
                "{free} free, {taken} taken"
            );
        }
        for client in 0..30_000 {
            assert!(!merge(&mut entries, &origins, client, 3, 1), "it is older");
        }
        // Tables that are too small for the digest to be summed up before it is asked for.
        let parts = (0..30).map(|part| {
            let mut entries = Entries::new((1, 2));
            for client in part * 1000..(part + 1) * 1000 {
                merge(&mut entries, &origins, client, 4, 60);
            }
            entries.digest(&origins).total()
        });
        let total = entries.digest(&origins).total();
        assert_eq!(total, parts.fold(0, u64::wrapping_add));
    }
}
