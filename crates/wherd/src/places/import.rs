//! `wherd places import`: files of any format into one places file.

use std::io::{BufReader, Write as _};
#[cfg(feature = "parquet")]
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, ValueEnum};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use wherd_places::Source;
use wherd_places::import::{self, Counts, Format, TableCounts, TableOptions};
use wherd_places::writer::{IndexWriter, Settled};

use super::input::{Content, Input};
use super::unfinished::Unfinished;
use crate::failure::{Code, Context as _, Failure};
use crate::output::{complain, print, print_json, size};

/// SPDX's word for a licence that nobody has stated.
const NO_LICENCE: &str = "NOASSERTION";

/// Make a places file out of maps and tables.
///
/// OpenStreetMap extracts (PBF), tables of GeoNames, GeoJSON, CSV, and Parquet of Overture and Foursquare where the
/// program was built with it; each may be compressed as .gz or .zip. What a file is, is told by its content. Several
/// files become one. The file is put in its place at once, when all of it is written: what was there stays if anything goes
/// wrong, or on Ctrl-C. Exit code 1 if a file is missing or damaged.
#[derive(Args)]
#[command(after_help = "\
Example:
  wherd places import Helsinki.osm.pbf
  wherd places import cities500.zip FI.zip -o finland.places
  wherd places import cafes.csv --source 'My cafés' --licence CC0-1.0")]
pub(super) struct Import {
    /// The files to import.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The file to write [default: FILE.places in the current folder, where there is one FILE]
    #[arg(short, long, value_name = "OUT")]
    out: Option<PathBuf>,
    /// The format of all files, where their content does not tell it.
    #[arg(long, value_enum)]
    format: Option<FormatName>,
    /// The encoding of tables and GeoJSON, such as windows-1252 [default: UTF-8, or as the file begins]
    #[arg(long, value_name = "LABEL")]
    encoding: Option<String>,
    /// Leave out rows that cannot be read and tell of the first ones, instead of ending there.
    #[arg(long)]
    skip_bad_rows: bool,
    /// What GeoJSON and CSV come from, as it is told where their places are [default: the file's name]
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// The licence of GeoJSON and CSV, by its SPDX identifier [default: NOASSERTION]
    #[arg(long, value_name = "SPDX")]
    licence: Option<String>,
    /// The line, in HTML, that answers with their places have [default: the source and its licence]
    #[arg(long, value_name = "HTML")]
    attribution: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatName {
    OsmPbf,
    Geonames,
    Geojson,
    Csv,
    Parquet,
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::OsmPbf => Self::OsmPbf,
            FormatName::Geonames => Self::GeoNames,
            FormatName::Geojson => Self::GeoJson,
            FormatName::Csv => Self::Csv,
            FormatName::Parquet => Self::Parquet,
        }
    }
}

/// What one file had.
enum FileCounts {
    Map(Counts),
    Table {
        counts: TableCounts,
        has_licence: bool,
    },
}

impl Import {
    pub(super) fn run(self) -> Result<(), Failure> {
        let out = self.out()?;
        let mut bar = Bar::new(&self.files)?;
        let unfinished = Unfinished::watch()?;
        let mut writer = IndexWriter::new();
        let mut counts = Vec::new();
        for file in &self.files {
            let counted = self.add(file, &mut writer, &mut bar);
            counts.push(counted.inspect_err(|_| bar.clear())?);
        }
        bar.say("writing");
        let settled = writer.settle();
        let written = write(writer, &out, &unfinished);
        bar.clear();
        let report = Report {
            out: &out,
            files: self.files.iter().zip(&counts).collect(),
            settled,
            place_count: written.as_ref().map_or(0, |written| written.0),
            byte_count: written?.1,
        };
        self.warn(&counts);
        if self.json {
            print_json(&report.json())
        } else {
            print(report.text())
        }
    }

    /// The file to write, in a folder that is there, and none of those that are read.
    fn out(&self) -> Result<PathBuf, Failure> {
        let out = match (&self.out, self.files.as_slice()) {
            (Some(out), _) => out.clone(),
            (None, [file]) => default_out(file),
            (None, _) => {
                let message = "of several files one becomes: which?";
                return Err(Failure::new(Code::Usage, message).help("say `-o OUT.places`"));
            }
        };
        check_folder_of(&out)?;
        let real = out.canonicalize().ok();
        let is_read = |file: &&PathBuf| real.is_some() && file.canonicalize().ok() == real;
        if let Some(file) = self.files.iter().find(is_read) {
            let message = format!("{} is to be read and to be written", file.display());
            return Err(Failure::new(Code::Usage, message));
        }
        Ok(out)
    }

    /// Adds the places of a file.
    fn add(
        &self,
        file: &Path,
        writer: &mut IndexWriter,
        bar: &mut Bar,
    ) -> Result<FileCounts, Failure> {
        let input = Input::open(file, self.format.map(Format::from))?;
        let failed = |error: &dyn std::error::Error| {
            let message = format!("cannot import {}: {error}", file.display());
            Failure::new(Code::Failed, message)
        };
        let options = TableOptions {
            encoding: self.encoding.clone(),
            is_skipping_bad_rows: self.skip_bad_rows,
        };
        let (len, read, places_before) = (input.len, input.read, writer.len() as u64);
        let mut progress = |places| bar.show(read.get(), places_before + places);
        let source = || self.source_of(file);
        let counted = match (input.format, input.content) {
            (Format::OsmPbf, Content::Plain(reader)) => {
                let mut progress = |p: import::Progress| bar.show_step(p, len);
                let counts = import::osm(BufReader::new(reader), writer, &mut progress);
                counts.map(FileCounts::Map).map_err(|error| failed(&error))
            }
            (Format::Parquet, Content::Plain(reader)) => {
                parquet(reader, &options, writer, &mut progress, file)
            }
            (Format::OsmPbf | Format::Parquet, Content::Unpacked(_)) => {
                let message = format!(
                    "cannot import {}: a file of this format is not read in order: decompress it first",
                    file.display()
                );
                Err(Failure::new(Code::Failed, message))
            }
            (format, content) => {
                let reader = content.reader();
                let has_licence = format == Format::GeoNames || self.licence.is_some();
                let counts = match format {
                    Format::GeoNames => import::geonames(reader, &options, writer, &mut progress),
                    Format::GeoJson => {
                        import::geojson(reader, source(), &options, writer, &mut progress)
                    }
                    _ => import::csv(reader, source(), &options, writer, &mut progress),
                };
                let counts = counts.map_err(|error| failed(&error))?;
                Ok(FileCounts::Table {
                    counts,
                    has_licence,
                })
            }
        }?;
        bar.file_is_done(len);
        Ok(counted)
    }

    /// What is known of whose a table is: what was said, or the file's name.
    fn source_of(&self, file: &Path) -> Source {
        let name = self.source.clone().unwrap_or_else(|| stem(file));
        let licence = self.licence.clone();
        let attribution = self.attribution.clone().unwrap_or_else(|| match &licence {
            Some(licence) => format!("{}, {}", escaped(&name), escaped(licence)),
            None => escaped(&name),
        });
        Source {
            name,
            licence: licence.unwrap_or_else(|| NO_LICENCE.to_owned()),
            attribution,
        }
    }

    /// Says what whoever passes the file on should know.
    fn warn(&self, counts: &[FileCounts]) {
        let is_map = |counts: &FileCounts| matches!(counts, FileCounts::Map(_));
        if counts.iter().any(is_map) && !counts.iter().all(is_map) {
            complain(
                "note: this is a database of OpenStreetMap and others: whoever passes it on must do so \
                 under the ODbL, if the other licences allow it; `places info` names them",
            );
        }
        let licensed = |counts: &FileCounts| match counts {
            FileCounts::Map(_) => true,
            FileCounts::Table { has_licence, .. } => *has_licence,
        };
        if !counts.iter().all(licensed) {
            complain("note: under which licence are the places? `--licence` says so");
        }
    }
}

#[cfg(feature = "parquet")]
fn parquet(
    reader: super::input::Counted<std::fs::File>,
    options: &TableOptions,
    writer: &mut IndexWriter,
    progress: &mut dyn FnMut(u64),
    file: &Path,
) -> Result<FileCounts, Failure> {
    let file_of = reader.into_inner();
    let failed = |why: &dyn std::fmt::Display| {
        let message = format!("cannot import {}: {why}", file.display());
        Failure::new(Code::Failed, message)
    };
    // The library asserts what a damaged file need not hold; its words are not for users.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let import = AssertUnwindSafe(|| import::parquet(file_of, options, writer, progress));
    let counts = std::panic::catch_unwind(import);
    std::panic::set_hook(hook);
    let counts =
        counts.map_err(|_| failed(&"the Parquet file is damaged: it contradicts itself"))?;
    let counts = counts.map_err(|error| failed(&error))?;
    Ok(FileCounts::Table {
        counts,
        has_licence: true,
    })
}

#[cfg(not(feature = "parquet"))]
fn parquet(
    _reader: super::input::Counted<std::fs::File>,
    _options: &TableOptions,
    _writer: &mut IndexWriter,
    _progress: &mut dyn FnMut(u64),
    file: &Path,
) -> Result<FileCounts, Failure> {
    let message = format!(
        "cannot import {}: this program was built without Parquet",
        file.display()
    );
    Err(Failure::new(Code::Failed, message)
        .help("`cargo install --path crates/wherd --features parquet` builds it with"))
}

/// `Helsinki.places` for `maps/Helsinki.osm.pbf`.
fn default_out(file: &Path) -> PathBuf {
    PathBuf::from(format!("{}.places", stem(file)))
}

/// A file's name without what tells its format.
fn stem(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let mut stem = &*name;
    for end in [
        ".gz",
        ".zip",
        ".pbf",
        ".osm",
        ".txt",
        ".tsv",
        ".csv",
        ".json",
        ".geojson",
        ".geojsonl",
        ".geojsonseq",
        ".ndjson",
        ".parquet",
    ] {
        stem = stem
            .strip_suffix(end)
            .filter(|stem| !stem.is_empty())
            .unwrap_or(stem);
    }
    stem.to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
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

/// Writes the file, and puts it in its place when all of it is on the disk. Returns places and bytes.
fn write(writer: IndexWriter, out: &Path, unfinished: &Unfinished) -> Result<(u64, u64), Failure> {
    let what = || format!("write {}", out.display());
    let mut file = unfinished.create(out).context(what())?;
    let written = writer
        .finish_to(&mut file)
        .map_err(|error| Failure::new(Code::Failed, format!("failed to {}: {error}", what())))?;
    file.flush().context(what())?;
    // A server may map the file right after a crash of the machine: better the old one than half.
    file.as_file().sync_all().context(what())?;
    unfinished.finish(file, out)?;
    Ok((written.place_count, written.byte_count))
}

/// How far it is, drawn on a terminal only.
struct Bar {
    bar: ProgressBar,
    begun_at: Instant,
    /// Bytes of the files before this one.
    bytes_before: u64,
}

impl Bar {
    /// Of all files, which must be there.
    fn new(files: &[PathBuf]) -> Result<Self, Failure> {
        let mut total = 0;
        for file in files {
            let metadata = file.metadata();
            total += metadata.context(format!("read {}", file.display()))?.len();
        }
        let bar = ProgressBar::new(total);
        let template = "{msg:36} [{wide_bar}] {percent:>3} %  {eta:>4}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Ok(Self {
            bar,
            begun_at: Instant::now(),
            bytes_before: 0,
        })
    }

    fn show(&self, bytes: u64, places: u64) {
        let bytes = self.bytes_before + bytes;
        self.bar.set_position(bytes);
        let seconds = self.begun_at.elapsed().as_secs_f64().max(1e-3);
        let bytes_per_s = HumanBytes((bytes as f64 / seconds) as u64);
        let places_per_s = HumanCount((places as f64 / seconds) as u64);
        self.bar
            .set_message(format!("{bytes_per_s}/s, {places_per_s} places/s"));
    }

    /// Of a file that is read several times.
    fn show_step(&self, progress: import::Progress, len: u64) {
        let share = progress.done_bytes as f64 / progress.total_bytes.max(1) as f64;
        let bytes = (share * len as f64) as u64;
        self.bar.set_position(self.bytes_before + bytes);
        let seconds = self.begun_at.elapsed().as_secs_f64().max(1e-3);
        let done = self.bytes_before + progress.done_bytes;
        let bytes_per_s = HumanBytes((done as f64 / seconds) as u64);
        self.bar
            .set_message(format!("{}, {bytes_per_s}/s", progress.step));
    }

    fn file_is_done(&mut self, len: u64) {
        self.bytes_before += len;
        self.bar.set_position(self.bytes_before);
    }

    fn say(&self, what: &'static str) {
        self.bar.set_message(what);
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// What was imported.
struct Report<'a> {
    out: &'a Path,
    files: Vec<(&'a PathBuf, &'a FileCounts)>,
    settled: Settled,
    place_count: u64,
    byte_count: u64,
}

impl Report<'_> {
    fn json(&self) -> Value {
        let files: Vec<_> = self
            .files
            .iter()
            .map(|(file, counts)| counts.json(file))
            .collect();
        json!({
            "file": self.out.to_string_lossy(),
            "bytes": self.byte_count,
            "places_count": self.place_count,
            "merged_count": self.settled.merged_count,
            "repeated_count": self.settled.repeated_count,
            "files": files,
        })
    }

    fn text(&self) -> String {
        let (out, place_count) = (self.out.display(), self.place_count);
        let bytes = size(usize::try_from(self.byte_count).unwrap_or(usize::MAX));
        let mut text = format!("{out}: {place_count} places, {bytes}\n");
        for (file, counts) in &self.files {
            text += &format!("{}: {}", file.display(), counts.text());
        }
        if self.settled.merged_count > 0 {
            let count = self.settled.merged_count;
            text += &format!("made one place: {count} points with the outlines around them\n");
        }
        if self.settled.repeated_count > 0 {
            let count = self.settled.repeated_count;
            text += &format!("left out: {count} whose id another has\n");
        }
        text
    }
}

impl FileCounts {
    fn text(&self) -> String {
        match self {
            Self::Map(counts) => {
                let place_count = counts.place_count();
                let Counts {
                    node_count,
                    way_count,
                    relation_count,
                    without_position_count,
                } = counts;
                let mut text = format!(
                    "{place_count} places ({node_count} points, {way_count} outlines, \
                     {relation_count} groups of outlines)\n"
                );
                if *without_position_count > 0 {
                    text += &format!(
                        "  left out: {without_position_count} whose points are not in the extract\n"
                    );
                }
                text
            }
            Self::Table { counts, .. } => {
                let mut text = format!(
                    "{} places of {} rows\n",
                    counts.place_count,
                    counts.row_count()
                );
                let left_out = counts.left_out();
                if !left_out.is_empty() {
                    text += &format!("  left out: {}\n", left_out.join(", "));
                }
                for bad in &counts.first_bad {
                    text += &format!("  skipped: {bad}\n");
                }
                if counts.unknown_kind_count > 0 {
                    let count = counts.unknown_kind_count;
                    text += &format!("  of a category that is not known: {count}\n");
                }
                text
            }
        }
    }

    fn json(&self, file: &Path) -> Value {
        match self {
            Self::Map(counts) => json!({
                "file": file.to_string_lossy(),
                "places_count": counts.place_count(),
                "nodes_count": counts.node_count,
                "ways_count": counts.way_count,
                "relations_count": counts.relation_count,
                "without_position_count": counts.without_position_count,
            }),
            Self::Table { counts, .. } => json!({
                "file": file.to_string_lossy(),
                "places_count": counts.place_count,
                "rows_count": counts.row_count(),
                "without_name_count": counts.without_name_count,
                "without_position_count": counts.without_position_count,
                "off_the_earth_count": counts.off_the_earth_count,
                "no_place_count": counts.no_place_count,
                "bad_count": counts.bad_count,
                "first_bad": counts.first_bad,
                "unknown_kind_count": counts.unknown_kind_count,
            }),
        }
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
            ("cities500.zip", "cities500.places"),
            ("a.csv.gz", "a.places"),
            (".csv", ".csv.places"),
        ] {
            assert_eq!(default_out(Path::new(file)), Path::new(expected));
        }
    }
}
