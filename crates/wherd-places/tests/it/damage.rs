//! A places file that was cut, changed or is none is refused; no bytes make a panic.

use crate::{at, file_of, place};
use proptest::prelude::*;
use std::sync::LazyLock;
use wherd_places::{Document, Index, IndexError, Rank};

/// A file of some three hundred places: three levels of nodes.
static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    file_of((0..300).map(|key| {
        let position = at(&format!("+{}.5-{}.25", key % 80, key % 170));
        place(key, &format!("place {key}"), position, key as u16)
    }))
});

/// Opens bytes and, where that goes well, asks for everything; without the checksums too.
fn open_and_use(bytes: Vec<u8>) -> Result<(), IndexError> {
    let verified = Index::open_unverified(bytes.clone()).and_then(|index| {
        use_all(&index);
        index.verify()
    });
    let opened = Index::from_bytes(bytes).map(|index| use_all(&index));
    assert_eq!(verified.is_ok(), opened.is_ok());
    opened
}

fn use_all(index: &Index) {
    for rank in [Rank::Prominence, Rank::Distance] {
        let found = index.nearby(at("+10.5-10.25"), 1e7, 1000, rank);
        Document::of_found(&found, |_| None).write(&mut Vec::new());
    }
    let _ = index.info();
    for place in index.places().take(1000) {
        let _ = (
            place.id().to_string(),
            place.time_zone(),
            place.opening_hours(),
        );
    }
}

fn check(change: impl Fn(&mut Vec<u8>), expected: &str) {
    let mut bytes = FILE.clone();
    change(&mut bytes);
    let error = open_and_use(bytes).expect_err("it is damaged");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn an_error_says_what_is_wrong_and_where() {
    let len = FILE.len();
    check(
        |bytes| bytes.clear(),
        "this is no places file: it begins with [] (offset 0)",
    );
    check(
        |bytes| bytes[..4].copy_from_slice(b"\x00\x00\x00\x0d"),
        "this is no places file: it begins with [00, 00, 00, 0d, 44, 50, 0d, 0a] (offset 0)",
    );
    check(
        |bytes| bytes[8] = 1,
        "the places file has format version 1 (offset 8), and this program reads version 2: \
         import it again with this program",
    );
    check(
        |bytes| bytes.truncate(60),
        "the places file has 60 bytes and should have 128",
    );
    check(
        |bytes| bytes.truncate(len - 1),
        &format!(
            "the places file has {} bytes and should have {len}",
            len - 1
        ),
    );
    check(
        |bytes| bytes.push(0),
        &format!(
            "the places file has {} bytes and should have {len}",
            len + 1
        ),
    );
    check(
        |bytes| bytes[30] ^= 1,
        "the places file is damaged: wrong checksum of its header (128 bytes at offset 0)",
    );
    check(
        |bytes| bytes[len - 1] ^= 0x80,
        &format!(
            "the places file is damaged: wrong checksum of its nodes (598 bytes at offset {})",
            len - 598
        ),
    );
}

#[test]
fn a_damaged_file_opens_at_once_and_is_told_when_it_is_verified() {
    let mut bytes = FILE.clone();
    let last = bytes.len() - 1;
    bytes[last] ^= 0x80;
    let index = Index::open_unverified(bytes).expect("the damage is elsewhere");
    assert_eq!(index.len(), 300);
    let error = index.verify().expect_err("it is damaged");
    assert!(
        matches!(
            error,
            IndexError::WrongChecksum {
                section: "nodes",
                ..
            }
        ),
        "{error}"
    );
    // What many places share is looked at when the file is opened.
    let mut bytes = FILE.clone();
    bytes[140] ^= 1;
    let error = Index::open_unverified(bytes).expect_err("it is damaged");
    assert!(
        matches!(
            error,
            IndexError::WrongChecksum {
                section: "tables",
                ..
            }
        ),
        "{error}"
    );
    let index = Index::open_unverified(FILE.clone()).expect("it is whole");
    assert_eq!(index.verify(), Ok(()));
}

#[test]
fn a_whole_file_opens() {
    assert_eq!(open_and_use(FILE.clone()), Ok(()));
}

/// Makes the checksums of a changed file right, as someone would who forges one.
fn forge(bytes: &mut [u8]) {
    let word = |bytes: &[u8], at: usize| {
        let word: [u8; 8] = bytes[at..at + 8].try_into().expect("eight bytes");
        u64::from_le_bytes(word) as usize
    };
    for entry in (24..124).step_by(20) {
        let (offset, len) = (word(bytes, entry), word(bytes, entry + 8));
        let end = offset.saturating_add(len);
        if let Some(section) = bytes.get(offset..end) {
            let checksum = crc32c::crc32c(section).to_le_bytes();
            bytes[entry + 16..entry + 20].copy_from_slice(&checksum);
        }
    }
    let checksum = crc32c::crc32c(&bytes[..124]).to_le_bytes();
    bytes[124..128].copy_from_slice(&checksum);
}

proptest! {
    #[test]
    fn a_changed_file_is_refused(at in any::<prop::sample::Index>(), change in 1..=255_u8) {
        let mut bytes = FILE.clone();
        bytes[at.index(FILE.len())] ^= change;
        prop_assert!(open_and_use(bytes).is_err());
    }

    #[test]
    fn a_cut_file_is_refused(len in any::<prop::sample::Index>()) {
        prop_assert!(open_and_use(FILE[..len.index(FILE.len())].to_vec()).is_err());
    }

    #[test]
    fn a_forged_file_does_no_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..60),
        header_changes in prop::collection::vec((12..124_usize, any::<u8>()), 0..3),
    ) {
        let mut bytes = FILE.clone();
        for (at, byte) in changes {
            bytes[128 + at.index(FILE.len() - 128)] = byte;
        }
        for (at, byte) in header_changes {
            bytes[at] = byte;
        }
        forge(&mut bytes);
        let _ = open_and_use(bytes);
    }

    #[test]
    fn no_bytes_make_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(open_and_use(bytes).is_err());
    }
}
