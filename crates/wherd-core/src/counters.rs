//! The table of counters: how often each article is liked.
//!
//! A counter is a CRDT by origin: each run of a server has an entry of its own for each article
//! that it counted, which it alone changes and whose numbers only grow. Merge is the newer of two
//! entries, the count is the sum over all origins, and so it is exact wherever all entries are,
//! whatever their order and however often they came.

use crate::digest::Digest;
use crate::entries::hash_client;
use crate::mutant::is_mutant;
use crate::replica::Settings;
use crate::version_vector::{OriginIndex, Origins};
use hashbrown::HashTable;
use wherd_proto::{Count, Origin};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// How often an article is liked: LIKE less UNLIKE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Likes {
    /// The count. Below 0 where UNLIKE was said more often.
    pub count: i64,
    /// Whether it should be more, or less, than it can be: it stays where it is then.
    pub is_saturated: bool,
}

/// What one origin counted of one article.
#[derive(Clone, Copy, Debug)]
struct Tally {
    article: u32,
    origin: OriginIndex,
    sequence: u64,
    likes: u64,
    unlikes: u64,
    hash: u64,
}

impl Tally {
    fn sum(&self) -> i128 {
        i128::from(self.likes) - i128::from(self.unlikes)
    }
}

#[derive(Debug)]
struct Article {
    name: Box<[u8]>,
    /// Of all its tallies. No number of them that fits into memory is too much for it.
    sum: i128,
}

/// How an entry compares to what the table had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CountMerge {
    /// It is newer, and is held at this place.
    Newer(u32),
    /// It was held at this place already.
    Held(u32),
    /// A newer one is held; the table did not change.
    Older,
}

/// The counters, an entry for each article and origin. None is ever removed.
#[derive(Debug)]
pub(crate) struct Counters {
    by_name: HashTable<u32>,
    articles: Vec<Article>,
    by_article_and_origin: HashTable<u32>,
    tallies: Vec<Tally>,
    name_bytes: usize,
    digest: Digest,
    /// Clients choose the articles: without a secret, they could choose ones that collide.
    hash_keys: (u64, u64),
}

impl Counters {
    pub(crate) fn new(hash_keys: (u64, u64)) -> Self {
        Self {
            by_name: HashTable::new(),
            articles: Vec::new(),
            by_article_and_origin: HashTable::new(),
            tallies: Vec::new(),
            name_bytes: 0,
            digest: Digest::default(),
            hash_keys,
        }
    }

    pub(crate) const fn articles_count(&self) -> usize {
        self.articles.len()
    }

    /// How many places there are.
    pub(crate) const fn places_count(&self) -> usize {
        self.tallies.len()
    }

    /// How many bytes the names in all entries have.
    pub(crate) const fn name_bytes(&self) -> usize {
        self.name_bytes
    }

    pub(crate) const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Who counted what is at a place, and what.
    pub(crate) fn get(&self, place: u32) -> (OriginIndex, Count<'_>) {
        let tally = &self.tallies[place as usize];
        let count = Count {
            sequence: tally.sequence,
            likes: tally.likes,
            unlikes: tally.unlikes,
            article: &self.articles[tally.article as usize].name,
        };
        (tally.origin, count)
    }

    /// What an origin counted of an article; nothing where it did not.
    pub(crate) fn of<'a>(&self, article: &'a [u8], origin: OriginIndex) -> Count<'a> {
        let place = self
            .find(article)
            .and_then(|found| self.place_of(found, origin));
        let tally = place.map(|place| self.tallies[place as usize]);
        Count {
            sequence: tally.map_or(0, |tally| tally.sequence),
            likes: tally.map_or(0, |tally| tally.likes),
            unlikes: tally.map_or(0, |tally| tally.unlikes),
            article,
        }
    }

    pub(crate) fn has(&self, article: &[u8]) -> bool {
        self.find(article).is_some()
    }

    /// How often an article is liked.
    pub(crate) fn likes(&self, article: &[u8]) -> Likes {
        let sum = self
            .find(article)
            .map_or(0, |found| self.articles[found as usize].sum);
        let count = sum.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        Likes {
            count: count as i64,
            is_saturated: count != sum,
        }
    }

    /// Holds an entry if it is newer than what is held of its origin and article.
    pub(crate) fn merge(
        &mut self,
        origins: &Origins,
        count: &Count<'_>,
        origin: OriginIndex,
        settings: &Settings,
    ) -> CountMerge {
        let article = match self.find(count.article) {
            Some(article) => article,
            None => self.insert_article(count.article),
        };
        let place = match self.place_of(article, origin) {
            Some(place) => place,
            None => self.insert_tally(article, origin),
        };
        let held = self.tallies[place as usize];
        // Of equal sequences with other numbers a bit changed somewhere: one of the two wins
        // everywhere, or no repair would come to an end.
        let order = (count.sequence, count.likes, count.unlikes);
        let mut new = Tally {
            sequence: count.sequence,
            likes: count.likes,
            unlikes: count.unlikes,
            hash: hash_count(origins.get(origin), count),
            ..held
        };
        if is_mutant!(settings, AddCounts) && order > (0, 0, 0) {
            new.likes = held.likes.saturating_add(count.likes);
        } else if order == (held.sequence, held.likes, held.unlikes) {
            return CountMerge::Held(place);
        } else if order < (held.sequence, held.likes, held.unlikes) {
            return CountMerge::Older;
        }
        let article = &mut self.articles[article as usize];
        article.sum += new.sum() - held.sum();
        self.digest.replace(count.article, held.hash, new.hash);
        self.tallies[place as usize] = new;
        CountMerge::Newer(place)
    }

    fn find(&self, article: &[u8]) -> Option<u32> {
        let hash = hash_client(self.hash_keys, article);
        let is_it = |index: &u32| *self.articles[*index as usize].name == *article;
        self.by_name.find(hash, is_it).copied()
    }

    fn place_of(&self, article: u32, origin: OriginIndex) -> Option<u32> {
        let is_it = |place: &u32| {
            let tally = &self.tallies[*place as usize];
            (tally.article, tally.origin) == (article, origin)
        };
        let hash = hash_place(article, origin);
        self.by_article_and_origin.find(hash, is_it).copied()
    }

    fn insert_article(&mut self, name: &[u8]) -> u32 {
        let index = u32::try_from(self.articles.len()).expect("fewer articles than 2^32");
        self.articles.push(Article {
            name: name.into(),
            sum: 0,
        });
        let (keys, articles) = (self.hash_keys, &self.articles);
        let hash_of = |index: &u32| hash_client(keys, &articles[*index as usize].name);
        self.by_name
            .insert_unique(hash_client(keys, name), index, hash_of);
        index
    }

    fn insert_tally(&mut self, article: u32, origin: OriginIndex) -> u32 {
        let place = u32::try_from(self.tallies.len()).expect("fewer counters than 2^32");
        self.tallies.push(Tally {
            article,
            origin,
            sequence: 0,
            likes: 0,
            unlikes: 0,
            hash: 0,
        });
        self.name_bytes += self.articles[article as usize].name.len();
        let tallies = &self.tallies;
        let hash_of = |place: &u32| {
            let tally = &tallies[*place as usize];
            hash_place(tally.article, tally.origin)
        };
        self.by_article_and_origin
            .insert_unique(hash_place(article, origin), place, hash_of);
        place
    }
}

/// Both are numbers of this replica's own, which nobody chooses.
fn hash_place(article: u32, origin: OriginIndex) -> u64 {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&article.to_le_bytes());
    bytes[4..].copy_from_slice(&origin.0.to_le_bytes());
    xxh3_64_with_seed(&bytes, 0)
}

/// The same on every server: by it they see whether they hold the same.
fn hash_count(origin: &Origin, count: &Count<'_>) -> u64 {
    let seed = xxh3_64_with_seed(origin.server.as_str().as_bytes(), origin.incarnation);
    let mut numbers = [0; 24];
    let all = [count.sequence, count.likes, count.unlikes];
    for (bytes, number) in numbers.as_chunks_mut::<8>().0.iter_mut().zip(all) {
        *bytes = number.to_le_bytes();
    }
    xxh3_64_with_seed(count.article, xxh3_64_with_seed(&numbers, seed))
}
