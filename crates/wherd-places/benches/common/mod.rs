//! Places of a made-up country, for benches: as many as are asked for, around the towns of Germany
//! as people live in them.

use wherd_places::writer::{IndexWriter, SourceNumber};
use wherd_places::{BusinessStatus, Index, Place, PlaceId, Source};
use wherd_proto::Position;

/// The box of the country, in degrees: south, west, north, east.
const COUNTRY: [f64; 4] = [47.3, 5.9, 55.0, 15.0];

/// The middle of its largest town.
pub(crate) fn capital() -> Position {
    Position::from_degrees(52.52, 13.405).expect("on the earth")
}

/// First types, with their weights: from what there is much of to what is rare.
const KINDS: [(&str, u16); 8] = [
    ("bus_stop", 1500),
    ("store", 1800),
    ("hair_care", 1800),
    ("bank", 2100),
    ("cafe", 2800),
    ("restaurant", 3700),
    ("lodging", 3200),
    ("museum", 3600),
];

const HOURS: [&str; 4] = [
    "Mo-Fr 09:00-18:00; Sa 10:00-14:00; PH off",
    "Mo-Su 11:00-23:00",
    "24/7",
    "Tu-Su 12:00-14:30,18:00-22:00",
];

/// The same numbers on each run (xorshift).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) const fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    /// From -1 to 1, mostly near 0.
    fn around_zero(&mut self) -> f64 {
        let sum: u64 = (0..3).map(|_| self.below(2_001)).sum();
        (sum as f64 / 3_000.0 - 1.0).powi(3)
    }
}

/// Positions where people live.
pub(crate) struct Towns {
    /// Inhabitants of all towns up to each, and where it is.
    towns: Vec<(u64, f64, f64)>,
    dice: Dice,
}

impl Towns {
    pub(crate) fn new(seed: u64) -> Self {
        let mut inhabitants = 0;
        let [south, west, north, east] = COUNTRY;
        let mut towns = Vec::new();
        for place in Index::embedded().places() {
            let position = place.position();
            let (latitude, longitude) = (position.latitude_degrees(), position.longitude_degrees());
            let is_within = (south..north).contains(&latitude) && (west..east).contains(&longitude);
            if is_within && place.types().any(|name| name == "political") {
                inhabitants += 10_f64.powf(f64::from(place.weight()) / 1000.0) as u64;
                towns.push((inhabitants, latitude, longitude));
            }
        }
        Self {
            towns,
            dice: Dice::new(seed),
        }
    }

    pub(crate) fn next_position(&mut self) -> Position {
        let inhabitants = self.towns.last().map_or(1, |town| town.0);
        let one = self.dice.below(inhabitants);
        let town = self.towns.partition_point(|town| town.0 <= one);
        let before = town.checked_sub(1).map_or(0, |before| self.towns[before].0);
        let (sum, latitude, longitude) = self.towns[town];
        // A town of a million is some 20 km across.
        let radius_degrees = 0.1 * ((sum - before) as f64 / 1e6).sqrt();
        let north = radius_degrees * self.dice.around_zero();
        let east = radius_degrees * 1.6 * self.dice.around_zero();
        Position::from_degrees(latitude + north, longitude + east).unwrap_or_default()
    }
}

pub(crate) fn place(number: u64, position: Position, dice: &mut Dice) -> Place {
    let kind = dice.below(8).min(dice.below(8)) as usize;
    let (kind, weight) = KINDS[kind];
    let types = [kind, "point_of_interest", "establishment"];
    let has_hours = dice.below(3) == 0;
    Place {
        id: PlaceId::number("made:n", number),
        name: format!("{kind} number {number}"),
        position,
        types: types.map(str::to_owned).to_vec(),
        street: format!("{}. Straße {}", dice.below(5_000), dice.below(200)),
        city: format!("Town {}", dice.below(10_000)),
        area: String::new(),
        opening_hours: if has_hours {
            HOURS[dice.below(4) as usize].to_owned()
        } else {
            String::new()
        },
        time_zone: String::new(),
        business_status: Some(BusinessStatus::Operational),
        weight: weight + dice.below(800) as u16,
    }
}

pub(crate) fn source(writer: &mut IndexWriter) -> SourceNumber {
    writer
        .add_source(Source {
            name: "made up".to_owned(),
            licence: "CC0-1.0".to_owned(),
            attribution: "made up for benches".to_owned(),
        })
        .expect("there is room")
}

/// A writer with places, not settled.
pub(crate) fn writer_of(count: u64) -> IndexWriter {
    let mut writer = IndexWriter::new();
    let source = source(&mut writer);
    let mut towns = Towns::new(2026);
    let mut dice = Dice::new(11);
    for number in 0..count {
        writer.add(place(number, towns.next_position(), &mut dice), source);
    }
    writer
}

/// A places file.
pub(crate) fn file_of(count: u64) -> Vec<u8> {
    let mut writer = writer_of(count);
    writer.settle();
    writer.finish().expect("there is room")
}
