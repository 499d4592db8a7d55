//! `wherd places`: make a places file out of a map, look into one, or ask for places.

mod ask;
mod doctor;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;
use wherd_places::Index;
use wherd_places::import::{self, Counts, Progress};
use wherd_places::index::{Bounds, IndexInfo};
use wherd_places::writer::{IndexWriter, Settled};
use wherd_server::config::Config;

use crate::failure::{Code, Context as _, Failure};
use crate::output::{beside, print, print_json, put_in_place, size};

/// Make a places file out of a map, look into one, or ask for places.
#[derive(Args)]
#[command(after_help = "\
Example:
  wherd places import Helsinki.osm.pbf && wherd up --places Helsinki.places")]
pub(crate) struct PlacesArgs {
    #[command(subcommand)]
    command: PlacesCommand,
}

#[derive(Subcommand)]
enum PlacesCommand {
    Ask(ask::Ask),
    Doctor(doctor::Doctor),
    /// Make a places file out of an OpenStreetMap extract.
    ///
    /// The file is written when all of it is known, and put in its place at once: what was there
    /// stays if anything goes wrong. Exit code 1 if the extract is missing or damaged.
    #[command(after_help = "\
Example:
  wherd places import Helsinki.osm.pbf
  wherd places import Helsinki.osm.pbf -o /var/lib/wherd/helsinki.places")]
    Import {
        /// The extract, in the PBF format.
        #[arg(value_name = "FILE.osm.pbf")]
        file: PathBuf,
        /// The file to write [default: FILE.places in the current folder]
        #[arg(short, long, value_name = "OUT")]
        out: Option<PathBuf>,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Print what is in a places file.
    ///
    /// Exit code 1 if it is missing or damaged.
    #[command(after_help = "Example:\n  wherd places info Helsinki.places")]
    Info {
        /// The places file [default: the places that are built in]
        file: Option<PathBuf>,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
}

impl PlacesArgs {
    pub(crate) fn run(self, find: impl Fn() -> Result<Config, Failure>) -> Result<(), Failure> {
        match self.command {
            PlacesCommand::Ask(args) => args.run(&find()?),
            PlacesCommand::Doctor(args) => args.run(&find()?),
            PlacesCommand::Import { file, out, json } => {
                let out = out.unwrap_or_else(|| default_out(&file));
                run_import(&file, &out, json)
            }
            PlacesCommand::Info { file, json } => run_info(file.as_deref(), json),
        }
    }
}

/// `Helsinki.places` for `maps/Helsinki.osm.pbf`.
fn default_out(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(".pbf").unwrap_or(&name);
    let stem = stem.strip_suffix(".osm").unwrap_or(stem);
    PathBuf::from(format!("{stem}.places"))
}

fn run_import(file: &Path, out: &Path, json: bool) -> Result<(), Failure> {
    let reader = File::open(file).context(format!("read {}", file.display()))?;
    check_folder_of(out)?;
    let bar = progress_bar();
    let failed = |error: &dyn std::error::Error| {
        Failure::new(
            Code::Failed,
            format!("cannot import {}: {error}", file.display()),
        )
    };
    let mut writer = IndexWriter::new();
    let mut progress = |progress| show(&bar, progress);
    let counts = import::osm(BufReader::new(reader), &mut writer, &mut progress);
    bar.finish_and_clear();
    let counts = counts.map_err(|error| failed(&error))?;
    let settled = writer.settle();
    let place_count = writer.len();
    let bytes = writer.finish().map_err(|error| failed(&error))?;
    write(&bytes, out)?;
    let imported = Imported {
        counts,
        settled,
        place_count,
        byte_count: bytes.len(),
    };
    report(&imported, out, json)
}

/// An import takes minutes for a country: better to hear at once that its result has no place.
fn check_folder_of(out: &Path) -> Result<(), Failure> {
    let folder = match out.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let problem = match folder.metadata() {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => "it is no folder".to_owned(),
        Err(error) => error.to_string(),
    };
    let message = format!("cannot write to {}: {problem}", folder.display());
    Err(Failure::new(Code::Failed, message))
}

/// Drawn on a terminal only.
fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let template = "{msg:24} [{wide_bar}] {percent:>3} %  {eta:>4}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_length(progress.total_bytes);
    bar.set_position(progress.done_bytes);
    bar.set_message(progress.step);
}

/// Everything is known before the first byte is written, so that Ctrl-C while the map is read
/// leaves nothing behind.
fn write(bytes: &[u8], out: &Path) -> Result<(), Failure> {
    let what = || format!("write {}", out.display());
    let mut file = beside(out).context(what())?;
    file.write_all(bytes).context(what())?;
    // A server may map the file right after a crash of the machine: better the old one than half.
    file.as_file().sync_all().context(what())?;
    put_in_place(file, out)
}

/// What was imported.
struct Imported {
    counts: Counts,
    settled: Settled,
    place_count: usize,
    byte_count: usize,
}

fn report(imported: &Imported, out: &Path, json: bool) -> Result<(), Failure> {
    if json {
        return print_json(&json!({
            "file": out.to_string_lossy(),
            "bytes": imported.byte_count,
            "places_count": imported.place_count,
            "nodes_count": imported.counts.node_count,
            "ways_count": imported.counts.way_count,
            "relations_count": imported.counts.relation_count,
            "merged_count": imported.settled.merged_count,
            "without_position_count": imported.counts.without_position_count,
        }));
    }
    let place_count = imported.place_count;
    let Counts {
        node_count,
        way_count,
        relation_count,
        without_position_count,
    } = imported.counts;
    let mut text = format!(
        "{}: {place_count} places ({node_count} points, {way_count} outlines, {relation_count} \
         groups of outlines), {}\n",
        out.display(),
        size(imported.byte_count)
    );
    if imported.settled.merged_count > 0 {
        let count = imported.settled.merged_count;
        text += &format!("made one place: {count} points with the outlines around them\n");
    }
    if without_position_count > 0 {
        text +=
            &format!("left out: {without_position_count} whose points are not in the extract\n");
    }
    print(text)
}

fn run_info(file: Option<&Path>, json: bool) -> Result<(), Failure> {
    let index = file.map_or_else(|| Ok(Index::embedded()), open)?;
    let info = Info::new(file, &index.info());
    if json {
        print_json(&info)
    } else {
        print(info.text())
    }
}

fn open(file: &Path) -> Result<Index, Failure> {
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let message = format!("there is no {}", file.display());
            return Err(Failure::new(Code::Failed, message)
                .help("`wherd places import` makes a places file out of a map"));
        }
        Err(error) => return Err(error).context(format!("read {}", file.display())),
    };
    Index::from_bytes(bytes)
        .map_err(|error| Failure::new(Code::Failed, format!("{}: {error}", file.display())))
}

/// What `info` prints.
#[derive(Serialize)]
struct Info {
    file: Option<String>,
    bytes: usize,
    places_count: usize,
    /// The box around all places, in degrees.
    #[serde(skip_serializing_if = "Option::is_none")]
    bounds: Option<BoundsDegrees>,
    sources: Vec<Source>,
    counts_by_type: BTreeMap<String, usize>,
}

#[derive(Serialize)]
struct BoundsDegrees {
    south: f64,
    west: f64,
    north: f64,
    east: f64,
}

#[derive(Serialize)]
struct Source {
    name: String,
    licence: String,
    attribution: String,
}

impl From<Bounds> for BoundsDegrees {
    fn from(bounds: Bounds) -> Self {
        let degrees = |e7| f64::from(e7) / 1e7;
        Self {
            south: degrees(bounds.south_e7),
            west: degrees(bounds.west_e7),
            north: degrees(bounds.north_e7),
            east: degrees(bounds.east_e7),
        }
    }
}

impl Info {
    fn new(file: Option<&Path>, info: &IndexInfo<'_>) -> Self {
        let source = |source: &wherd_places::Source| Source {
            name: source.name.clone(),
            licence: source.licence.clone(),
            attribution: source.attribution.clone(),
        };
        let count = |(kind, count): (&&str, &usize)| ((*kind).to_owned(), *count);
        Self {
            file: file.map(|file| file.to_string_lossy().into_owned()),
            bytes: info.byte_count,
            places_count: info.place_count,
            bounds: info.bounds.map(BoundsDegrees::from),
            sources: info.sources.iter().map(source).collect(),
            counts_by_type: info.counts_by_type.iter().map(count).collect(),
        }
    }

    fn text(&self) -> String {
        let name = self.file.as_deref().unwrap_or("the built-in places");
        let mut text = format!(
            "{name}: {} places, {}\n",
            self.places_count,
            size(self.bytes)
        );
        for source in &self.sources {
            text += &format!("from {} ({})\n", source.name, source.licence);
        }
        if let Some(b) = &self.bounds {
            let (south, west, north, east) = (b.south, b.west, b.north, b.east);
            text += &format!("between {south:+.4}{west:+.4} and {north:+.4}{east:+.4}\n");
        }
        let mut counts: Vec<_> = self.counts_by_type.iter().collect();
        counts.sort_by_key(|(kind, count)| (std::cmp::Reverse(**count), kind.as_str()));
        for (kind, count) in counts {
            text += &format!("{count:>9} {kind}\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_places_file_is_named_after_its_map() {
        for (file, expected) in [
            ("maps/Helsinki.osm.pbf", "Helsinki.places"),
            ("a.pbf", "a.places"),
            ("a.osm", "a.places"),
            ("a", "a.places"),
        ] {
            assert_eq!(default_out(Path::new(file)), Path::new(expected));
        }
    }
}
