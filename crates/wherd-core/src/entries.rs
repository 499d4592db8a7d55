//! The table of newest reports: client to entry.

use crate::digest::Digest;
use crate::version_vector::{OriginIndex, Origins};
use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use wherd_proto::{AtText, Origin, Position, Update};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What stands for a client within one replica: its place in the table, until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientIndex(pub(crate) u32);

/// The newest report of one client: one cache line, and the text.
///
/// The text is the client's own, so an entry is found by the client ID in it and nothing is kept
/// twice.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    text: Vec<u8>,
    hash: u64,
    ordered_at_ns: i64,
    sequence: u64,
    position: Position,
    origin: OriginIndex,
    skew_bytes: u8,
    client_bytes: u8,
}

impl Entry {
    /// Whether the place is free.
    pub(crate) const fn is_vacant(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether it says that its client is forgotten.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.at().is_forgotten()
    }

    pub(crate) const fn ordered_at_ns(&self) -> i64 {
        self.ordered_at_ns
    }

    pub(crate) const fn origin(&self) -> OriginIndex {
        self.origin
    }

    pub(crate) const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// How many bytes its text has.
    pub(crate) const fn text_bytes(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn update(&self) -> Update<'_> {
        Update {
            sequence: self.sequence,
            ordered_at_ns: self.ordered_at_ns,
            position: self.position,
            at: self.at(),
        }
    }

    fn at(&self) -> AtText<'_> {
        AtText::from_parts(&self.text, self.skew_bytes, self.client_bytes)
    }

    /// The total order that picks the newest, the same on every server.
    ///
    /// Of equal times the later report to one server wins, since a client whose clock ticks
    /// seconds says two things in one; between servers the name decides.
    fn precedence<'a>(
        origins: &'a Origins,
        update: &Update<'_>,
        origin: OriginIndex,
    ) -> (i64, &'a Origin, u64) {
        (update.ordered_at_ns, origins.get(origin), update.sequence)
    }
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

/// The entries, one for each client.
pub(crate) struct Entries {
    by_client: HashTable<u32>,
    list: Vec<Entry>,
    /// Places in the list that are free.
    vacant: Vec<u32>,
    forgotten_count: usize,
    text_bytes: usize,
    digest: Digest,
    /// Clients choose their IDs: without a secret, they could choose ones that collide.
    hash_keys: (u64, u64),
}

impl Entries {
    pub(crate) fn new(hash_keys: (u64, u64)) -> Self {
        Self {
            by_client: HashTable::new(),
            list: Vec::new(),
            vacant: Vec::new(),
            forgotten_count: 0,
            text_bytes: 0,
            digest: Digest::default(),
            hash_keys,
        }
    }

    /// How many clients have an entry, those that are forgotten too.
    pub(crate) const fn count(&self) -> usize {
        self.list.len() - self.vacant.len()
    }

    /// How many of them are forgotten.
    pub(crate) const fn forgotten_count(&self) -> usize {
        self.forgotten_count
    }

    /// How many places there are: every [`ClientIndex`] is below.
    pub(crate) const fn places_count(&self) -> usize {
        self.list.len()
    }

    /// How many bytes their texts have in all.
    pub(crate) const fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    pub(crate) const fn digest(&self) -> &Digest {
        &self.digest
    }

    pub(crate) fn get(&self, client: ClientIndex) -> &Entry {
        &self.list[client.0 as usize]
    }

    pub(crate) fn find(&self, client: &[u8]) -> Option<ClientIndex> {
        let hash = hash_client(self.hash_keys, client);
        let found = self
            .by_client
            .find(hash, |i| self.list[*i as usize].at().client() == client);
        found.map(|index| ClientIndex(*index))
    }

    /// Holds an update if it precedes what is held of its client.
    pub(crate) fn merge(
        &mut self,
        origins: &Origins,
        update: &Update<'_>,
        origin: OriginIndex,
        is_tie_ignored: bool,
    ) -> Merge {
        let Some(client) = self.find(update.at.client()) else {
            return Merge::Newest(self.insert(origins, update, origin));
        };
        let held = &self.list[client.0 as usize];
        let held_precedence = Entry::precedence(origins, &held.update(), held.origin);
        let precedence = Entry::precedence(origins, update, origin);
        if is_tie_ignored && precedence.0 == held_precedence.0 {
            return Merge::Older(client);
        }
        match precedence.cmp(&held_precedence) {
            std::cmp::Ordering::Greater => {
                self.replace(client, origins, update, origin);
                Merge::Newest(client)
            }
            std::cmp::Ordering::Equal => {
                // The same update with another text: a bit changed somewhere. One of the two wins
                // everywhere, or no repair would come to an end.
                let hash = hash_entry(origins.get(origin), update);
                match hash.cmp(&self.list[client.0 as usize].hash) {
                    std::cmp::Ordering::Greater => {
                        self.replace(client, origins, update, origin);
                        Merge::Newest(client)
                    }
                    std::cmp::Ordering::Equal => Merge::Held(client),
                    std::cmp::Ordering::Less => Merge::Older(client),
                }
            }
            std::cmp::Ordering::Less => Merge::Older(client),
        }
    }

    fn insert(
        &mut self,
        origins: &Origins,
        update: &Update<'_>,
        origin: OriginIndex,
    ) -> ClientIndex {
        let keys = self.hash_keys;
        let entry = Entry {
            text: Vec::with_capacity(text_capacity(update.at.as_bytes().len())),
            hash: 0,
            ordered_at_ns: 0,
            sequence: 0,
            position: update.position,
            origin,
            skew_bytes: 0,
            client_bytes: 0,
        };
        let index = self.vacant.pop().unwrap_or(self.list.len() as u32);
        if index as usize == self.list.len() {
            assert!(index < u32::MAX, "fewer clients than 2^32");
            self.list.push(entry);
        } else {
            self.list[index as usize] = entry;
        }
        self.replace(ClientIndex(index), origins, update, origin);
        let list = &self.list;
        let hash_of = |index: &u32| hash_client(keys, list[*index as usize].at().client());
        self.by_client
            .insert_unique(hash_client(keys, update.at.client()), index, hash_of);
        ClientIndex(index)
    }

    /// Removes an entry as if it had never been.
    pub(crate) fn remove(&mut self, client: ClientIndex) {
        let entry = &self.list[client.0 as usize];
        if entry.is_vacant() {
            return;
        }
        let hash = hash_client(self.hash_keys, entry.at().client());
        if let Ok(found) = self.by_client.find_entry(hash, |index| *index == client.0) {
            found.remove();
        }
        self.digest.replace(entry.at().client(), entry.hash, 0);
        self.forgotten_count -= usize::from(entry.is_forgotten());
        self.text_bytes -= entry.text.len();
        let entry = &mut self.list[client.0 as usize];
        (entry.text, entry.hash) = (Vec::new(), 0);
        (entry.skew_bytes, entry.client_bytes) = (0, 0);
        self.vacant.push(client.0);
    }

    fn replace(
        &mut self,
        client: ClientIndex,
        origins: &Origins,
        update: &Update<'_>,
        origin: OriginIndex,
    ) {
        let entry = &mut self.list[client.0 as usize];
        let text = update.at.as_bytes();
        let hash = hash_entry(origins.get(origin), update);
        self.digest.replace(update.at.client(), entry.hash, hash);
        let was_forgotten = !entry.is_vacant() && entry.is_forgotten();
        self.forgotten_count -= usize::from(was_forgotten);
        self.forgotten_count += usize::from(update.at.is_forgotten());
        self.text_bytes += text.len();
        self.text_bytes -= entry.text.len();
        if entry.text.capacity() < text.len() {
            entry.text = Vec::with_capacity(text_capacity(text.len()));
        }
        entry.text.clear();
        entry.text.extend_from_slice(text);
        entry.hash = hash;
        entry.ordered_at_ns = update.ordered_at_ns;
        entry.sequence = update.sequence;
        entry.position = update.position;
        entry.origin = origin;
        entry.skew_bytes = update.at.skew_bytes();
        entry.client_bytes = update.at.client_bytes();
    }
}

/// Texts of one client differ by a few digits: the next one mostly fits where the last one was,
/// and the allocator rounds up to sixteen bytes as well.
const fn text_capacity(bytes: usize) -> usize {
    bytes.next_multiple_of(16) + 8
}

pub(crate) fn hash_client(keys: (u64, u64), client: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(keys.0, keys.1);
    hasher.write(client);
    hasher.finish()
}

/// The same on every server: by it they see whether they hold the same.
///
/// The origin counts: its name stands in the client's AT line, and is not in the text.
fn hash_entry(origin: &Origin, update: &Update<'_>) -> u64 {
    let name = origin.server.as_str().as_bytes();
    let seed = xxh3_64_with_seed(name, origin.incarnation)
        ^ update.ordered_at_ns.unsigned_abs()
        ^ update.sequence.rotate_left(32);
    xxh3_64_with_seed(update.at.as_bytes(), seed)
}
