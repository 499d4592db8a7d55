//! `wherd places`: make a places file out of a map, look into one, or ask for places.

mod ask;
mod doctor;
mod import;
mod input;
mod unfinished;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use wherd_places::index::Bounds;
use wherd_places::{Index, PlaceRef};
use wherd_server::config::Config;

use crate::failure::{Code, Context as _, Failure};
use crate::output::{print, print_json, size};

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
    Import(import::Import),
    /// Print what is in places files.
    ///
    /// Exit code 1 if one is missing or damaged.
    #[command(after_help = "Example:\n  wherd places info Helsinki.places")]
    Info {
        /// The places files [default: the places that are built in]
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Print one JSON object for each file.
        #[arg(long)]
        json: bool,
    },
}

impl PlacesArgs {
    pub(crate) fn run(self, find: impl Fn() -> Result<Config, Failure>) -> Result<(), Failure> {
        match self.command {
            PlacesCommand::Ask(args) => args.run(&find()?),
            PlacesCommand::Doctor(args) => args.run(&find()?),
            PlacesCommand::Import(import) => import.run(),
            PlacesCommand::Info { files, json } if files.is_empty() => run_info(None, json),
            PlacesCommand::Info { files, json } => {
                files.iter().try_for_each(|file| run_info(Some(file), json))
            }
        }
    }
}

fn run_info(file: Option<&Path>, json: bool) -> Result<(), Failure> {
    let index = file.map_or_else(|| Ok(Index::embedded()), open)?;
    let info = Info::new(file, &index);
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
    opening_hours_count: usize,
    time_zones_count: usize,
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
    places_count: usize,
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
    fn new(file: Option<&Path>, index: &Index) -> Self {
        let info = index.info();
        let count = |(kind, count): (&&str, &usize)| ((*kind).to_owned(), *count);
        let has_hours = |place: &PlaceRef<'_>| !place.opening_hours().is_empty();
        let has_zone = |place: &PlaceRef<'_>| !place.time_zone().is_empty();
        let sources = info.sources.iter().map(|source| Source {
            name: source.name.clone(),
            licence: source.licence.clone(),
            attribution: source.attribution.clone(),
            places_count: index
                .places()
                .filter(|place| place.source() == Some(source))
                .count(),
        });
        Self {
            file: file.map(|file| file.to_string_lossy().into_owned()),
            bytes: info.byte_count,
            places_count: info.place_count,
            bounds: info.bounds.map(BoundsDegrees::from),
            sources: sources.collect(),
            opening_hours_count: index.places().filter(has_hours).count(),
            time_zones_count: index.places().filter(has_zone).count(),
            counts_by_type: info.counts_by_type.iter().map(count).collect(),
        }
    }

    fn text(&self) -> String {
        let name = self.file.as_deref().unwrap_or("the built-in places");
        let (place_count, bytes) = (self.places_count, size(self.bytes));
        let mut text = format!("{name}: {place_count} places, {bytes}\n");
        for source in &self.sources {
            let (name, licence, count) = (&source.name, &source.licence, source.places_count);
            text += &format!("from {name} ({licence}): {count}\n");
        }
        if let Some(b) = &self.bounds {
            let (south, west, north, east) = (b.south, b.west, b.north, b.east);
            text += &format!("between {south:+.4}{west:+.4} and {north:+.4}{east:+.4}\n");
        }
        let (hours, zones) = (self.opening_hours_count, self.time_zones_count);
        text += &format!("with opening hours: {hours}, with a time zone: {zones}\n");
        let mut counts: Vec<_> = self.counts_by_type.iter().collect();
        counts.sort_by_key(|(kind, count)| (std::cmp::Reverse(**count), kind.as_str()));
        for (kind, count) in counts {
            text += &format!("{count:>9} {kind}\n");
        }
        text
    }
}
