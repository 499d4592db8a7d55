//! A little search: mutations of a corpus, from a seed.

use crate::run;
use oorandom::Rand32;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};
use wherd_fuzz::Property;

/// How many mutations are tried, and for how long at the most.
const COUNT: u64 = 20_000;
const LIMIT: Duration = Duration::from_secs(2);
/// No mutation is longer, so that none is slow.
const MAX_BYTES: usize = 8192;

/// Puts mutations of a corpus through a target's property. Another seed each time, unless
/// `WHERD_SEED` names one.
pub(crate) fn check(target: &str, property: Property, corpus: &[Vec<u8>]) {
    let seed = match std::env::var("WHERD_SEED") {
        Ok(seed) => seed.parse().expect("WHERD_SEED is a number"),
        Err(_) => RandomState::new().hash_one(target) >> 16,
    };
    let command = format!("WHERD_SEED={seed} cargo test -p wherd-fuzz --test it {target}");
    let begun_at = Instant::now();
    let mut tried: u64 = 0;
    // Each mutation from a stream of its own: none depends on how many others were tried.
    while tried < COUNT && (tried < 100 || begun_at.elapsed() < LIMIT) {
        let bytes = mutation(corpus, &mut Rand32::new(seed.wrapping_add(tried << 40)));
        run(
            property,
            &bytes,
            &format!("mutation {tried}; again: {command}"),
        );
        tried += 1;
    }
    eprintln!(
        "{target}: {tried} mutations of {} files: {command}",
        corpus.len()
    );
}

fn mutation(corpus: &[Vec<u8>], random: &mut Rand32) -> Vec<u8> {
    let mut bytes = pick(corpus, random);
    bytes.truncate(MAX_BYTES);
    for _ in 0..=below(4, random) {
        mutate(&mut bytes, corpus, random);
    }
    bytes.truncate(MAX_BYTES);
    bytes
}

fn mutate(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Rand32) {
    const TELLING: [u8; 12] = [
        0, 1, 0x7f, 0x80, 0xff, b'\n', b'\r', b' ', b'0', b'9', b'.', b'"',
    ];
    let (from, to) = range(bytes.len(), random);
    match below(8, random) {
        0 => bytes.truncate(to),
        1 => drop(bytes.drain(from..to)),
        2 => bytes
            .splice(to..to, bytes[from..to].to_vec())
            .for_each(drop),
        3 => {
            let other = pick(corpus, random);
            let (other_from, other_to) = range(other.len(), random);
            let part = other[other_from..other_to].iter().copied();
            bytes.splice(from..to, part).for_each(drop);
        }
        4 => bytes.insert(from, pick(&TELLING, random)),
        5 if from < bytes.len() => bytes[from] = pick(&TELLING, random),
        6 if from < bytes.len() => bytes[from] ^= 1 << below(8, random),
        _ if from < bytes.len() => bytes[from] = bytes[from].wrapping_add(random.rand_u32() as u8),
        _ => bytes.push(random.rand_u32() as u8),
    }
}

/// Two places within so many bytes, in order, mostly near each other.
fn range(len: usize, random: &mut Rand32) -> (usize, usize) {
    let from = below(len + 1, random);
    let longest = if below(4, random) == 0 { len } else { 16 };
    (from, (from + below(longest + 1, random)).min(len))
}

fn pick<T: Clone>(of: &[T], random: &mut Rand32) -> T {
    of[below(of.len(), random)].clone()
}

fn below(limit: usize, random: &mut Rand32) -> usize {
    random.rand_range(0..limit as u32) as usize
}
