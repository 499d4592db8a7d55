//! The corpora of the fuzz targets, what was ever found, and some mutations, as ordinary tests.
//!
//! `WHERD_SEED=5 cargo test -p wherd-fuzz --test it frame` repeats the mutations of a run that
//! failed: it prints the command.

mod mutations;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use wherd_fuzz::{Property, TARGETS, Verdict};

/// A file of a corpus, by its path within `fuzz/`.
type Corpus = BTreeMap<PathBuf, Vec<u8>>;

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// The files of a target in `corpus` or in `regressions`; none where it has no folder there.
fn files(kind: &str, target: &str) -> Corpus {
    let folder = Path::new(kind).join(target);
    let Ok(entries) = std::fs::read_dir(fuzz_folder().join(&folder)) else {
        return Corpus::new();
    };
    let names = entries.map(|entry| entry.expect("a folder that can be read").file_name());
    let read = |name: &Path| std::fs::read(fuzz_folder().join(name)).expect("a file");
    let paths = names.map(|name| folder.join(name));
    paths.map(|path| (path.clone(), read(&path))).collect()
}

/// Says which bytes broke a property, where that happens while this lives.
struct Telling<'a> {
    origin: &'a str,
    bytes: &'a [u8],
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let shown = self.bytes.escape_ascii();
            eprintln!("{}\nthe bytes: b\"{shown}\"", self.origin);
        }
    }
}

fn run(property: Property, bytes: &[u8], origin: &str) -> Verdict {
    let telling = Telling { origin, bytes };
    let verdict = property(telling.bytes);
    drop(telling);
    verdict
}

/// Puts a target's files and mutations of them through it.
fn check(name: &str) {
    let (_, property) = TARGETS
        .iter()
        .find(|(target, _)| *target == name)
        .expect("a target");
    let mut corpus = files("corpus", name);
    let verdicts: Vec<_> = corpus
        .iter()
        .map(|(path, bytes)| run(*property, bytes, &path.to_string_lossy()))
        .collect();
    let accepted = verdicts.iter().filter(|v| **v == Verdict::Accepted);
    assert!(
        accepted.count() >= 5,
        "hardly any file is accepted: does the corpus still fit the format? \
         `cargo run -p wherd-fuzz --example corpus` writes its beginnings anew"
    );
    assert!(verdicts.contains(&Verdict::Refused), "no file is refused");
    corpus.extend(files("regressions", name));
    for (path, bytes) in &corpus {
        run(*property, bytes, &path.to_string_lossy());
    }
    let corpus: Vec<_> = corpus.into_values().collect();
    mutations::check(name, *property, &corpus);
}

/// A test for each target, so that they run beside each other and one can be run alone.
macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*

        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

targets! {
    line request position timestamp at_text frame vectors link journal config places_index osm_pbf
    document import_text provider
}

#[test]
fn every_target_is_tested_and_has_its_fuzz_target() {
    let names: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(TESTED, names);
    let manifest = std::fs::read_to_string(fuzz_folder().join("Cargo.toml")).expect("a manifest");
    for name in &names {
        let path = format!("fuzz_targets/{name}.rs");
        let source = std::fs::read_to_string(fuzz_folder().join(&path)).expect("a fuzz target");
        assert!(
            source.contains(&format!("wherd_fuzz::{name}(bytes)")),
            "{path}"
        );
        let bin = format!("name = \"{name}\"\npath = \"{path}\"\n");
        assert!(manifest.contains(&bin), "{name} is not in fuzz/Cargo.toml");
    }
    for kind in ["corpus", "regressions"] {
        for entry in std::fs::read_dir(fuzz_folder().join(kind)).expect("a folder") {
            let name = entry.expect("a folder that can be read").file_name();
            let is_known = names.iter().any(|known| name == **known);
            assert!(is_known, "fuzz/{kind}/{} is of no target", name.display());
        }
    }
}
