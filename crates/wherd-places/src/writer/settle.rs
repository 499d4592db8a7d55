//! What is decided when all places are known: which are told twice, and which stand out.
//!
//! Works on the records as they lie in the writer, with a dozen bytes for each place besides.

use super::{IndexWriter, PlaceNumber, Record};
use crate::index::Bounds;
use crate::layout::{self, record};
use crate::osm;
use std::cmp::Reverse;

/// How far beyond the box of an outline a point may be that is the same place, in metres.
///
/// A box has corners that the outline does not reach, so most of what is on its edge is within; mappers
/// put a shop's point behind its door or on the pavement before it. The next branch of a chain is
/// farther away.
const MARGIN_M: f64 = 10.0;

/// Higher outlines, in units of 1e-7 degree (11 km), are no places that somebody marks with a point.
const MAX_HEIGHT_E7: i64 = 1_000_000;

/// Where more places than this of one name are level with an outline, the name tells nothing.
const MAX_NAMESAKES: usize = 256;

const E7_PER_M: f64 = 1e7 * 360.0 / 40_030_228.0;
const TURN_E7: i64 = 3_600_000_000;

/// What an [`IndexWriter`] found when it looked at all places together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Places whose id another had before: left out.
    pub repeated_count: u64,
    /// Points that an outline of the same name and kind is around: one place, with all that either told.
    pub merged_count: u64,
}

impl IndexWriter {
    /// Makes one place of those that were told twice, and takes weight from places that have more
    /// prominent ones of their kind around them. To be called once, when all were added.
    pub fn settle(&mut self) -> Settled {
        let repeated_count = self.leave_out_repeated();
        let merged_count = self.merge_duplicates();
        self.make_room_for_others();
        Settled {
            repeated_count,
            merged_count,
        }
    }

    /// The numbers of all places that are not left out.
    fn present(&self) -> impl Iterator<Item = (u32, &Record)> {
        (0..)
            .zip(&self.records)
            .filter(|(_, record)| record[super::IS_LEFT_OUT] == 0)
    }

    fn record_at(&self, number: u32) -> &Record {
        &self.records[number as usize]
    }

    fn leave_out_repeated(&mut self) -> u64 {
        let id = |record: &Record| {
            let key = layout::u64_at(record, record::KEY);
            let namespace = record[record::NAMESPACE];
            (namespace, record[record::KEY_IS_TEXT], key)
        };
        let mut numbers: Vec<u32> = self.present().map(|(number, _)| number).collect();
        numbers.sort_unstable_by_key(|number| (id(self.record_at(*number)), *number));
        let mut repeated_count = 0;
        for pair in numbers.windows(2) {
            if id(self.record_at(pair[0])) == id(self.record_at(pair[1])) {
                self.leave_out(PlaceNumber(pair[1]));
                repeated_count += 1;
            }
        }
        repeated_count
    }

    fn merge_duplicates(&mut self) -> u64 {
        self.extents.sort_unstable_by_key(|(number, _)| *number);
        let mut pairs = self.point_and_outline_pairs();
        // Two points in one outline are two places of one name, and nothing tells which of them it is.
        let outlines = repeated(pairs.iter().map(|(_, outline)| *outline).collect());
        let points = repeated(pairs.iter().map(|(point, _)| *point).collect());
        pairs.retain(|(point, outline)| {
            points.binary_search(point).is_err() && outlines.binary_search(outline).is_err()
        });
        for (point, outline) in &pairs {
            self.merge(*point, *outline);
        }
        pairs.len() as u64
    }

    /// All pairs of a point and an outline that are one place by themselves.
    fn point_and_outline_pairs(&self) -> Vec<(u32, u32)> {
        let mut pairs = Vec::new();
        if self.extents.is_empty() {
            return pairs;
        }
        let mut by_name: Vec<(u32, i32, u32)> = self
            .present()
            .filter(|(number, _)| !self.is_outline(*number))
            .map(|(number, record)| {
                let latitude = layout::i32_at(record, record::LATITUDE_E7);
                (self.name_hash(record), latitude, number)
            })
            .collect();
        by_name.sort_unstable();
        for (PlaceNumber(outline), bounds) in &self.extents {
            let record = self.record_at(*outline);
            let is_of_use = record[super::IS_LEFT_OUT] == 0 && height_e7(*bounds) <= MAX_HEIGHT_E7;
            if !is_of_use {
                continue;
            }
            let namesakes = level_with(&by_name, self.name_hash(record), *bounds);
            let same = namesakes
                .iter()
                .filter(|(_, _, point)| self.is_within(*point, *bounds))
                .filter(|(_, _, point)| self.is_same(*point, *outline));
            pairs.extend(same.map(|(_, _, point)| (*point, *outline)));
        }
        pairs
    }

    fn is_outline(&self, number: u32) -> bool {
        let found = self
            .extents
            .binary_search_by_key(&PlaceNumber(number), |(number, _)| *number);
        found.is_ok()
    }

    fn text_in(&self, record: &Record, field: usize) -> &str {
        self.texts.get(layout::u32_at(record, field))
    }

    /// Names that differ in letter case, spaces and punctuation have one; so may others.
    fn name_hash(&self, record: &Record) -> u32 {
        let name = self.text_in(record, record::NAME);
        let mut bytes = [0; 4];
        essence(name).fold(0, |hash, character| {
            crc32c::crc32c_append(hash, character.encode_utf8(&mut bytes).as_bytes())
        })
    }

    fn is_within(&self, point: u32, bounds: Bounds) -> bool {
        let record = self.record_at(point);
        let longitude = i64::from(layout::i32_at(record, record::LONGITUDE_E7));
        let latitude = f64::from(layout::i32_at(record, record::LATITUDE_E7)) / 1e7;
        let margin = (MARGIN_M * E7_PER_M / latitude.to_radians().cos().max(0.001)) as i64;
        let west = i64::from(bounds.west_e7);
        let width = (i64::from(bounds.east_e7) - west).rem_euclid(TURN_E7);
        (longitude - west + margin).rem_euclid(TURN_E7) <= width + 2 * margin
    }

    /// Whether two records tell of one place, but for where they are.
    fn is_same(&self, point: u32, outline: u32) -> bool {
        let records = [point, outline].map(|number| self.record_at(number));
        let [a, b] = records.map(|record| self.text_in(record, record::NAME));
        let [street_a, street_b] = records.map(|record| self.text_in(record, record::STREET));
        records[0][record::SOURCE] == records[1][record::SOURCE]
            && essence(a).eq(essence(b))
            && essence(a).next().map_or(a == b, |_| true)
            && is_same_address(street_a, street_b)
            && self.is_same_kind(records)
    }

    /// Whether they are of one kind, or one is what the other is and more.
    fn is_same_kind(&self, records: [&Record; 2]) -> bool {
        let [a, b] = records.map(|record| self.types_of(record));
        let [telling_a, telling_b] = [a, b].map(|types| {
            let telling = types.iter().filter(|number| self.is_telling(**number));
            telling.copied().collect::<Vec<u16>>()
        });
        let is_part = |part: &[u16], whole: &[u16]| {
            !part.is_empty() && part.iter().all(|number| whole.contains(number))
        };
        a.first() == b.first() || is_part(&telling_a, &telling_b) || is_part(&telling_b, &telling_a)
    }

    fn types_of(&self, record: &Record) -> &[u16] {
        &self.type_sets.in_order[usize::from(layout::u16_at(record, record::TYPE_SET))]
    }

    fn is_telling(&self, number: u16) -> bool {
        let name = self.types.in_order[usize::from(number)].as_str();
        !matches!(name, "point_of_interest" | "establishment" | "political")
    }

    /// Makes one place of two: the outline, which is what mappers keep when they find both; of a town
    /// the point, as that is its centre.
    fn merge(&mut self, point: u32, outline: u32) {
        let is_town = self
            .types_of(self.record_at(point))
            .iter()
            .any(|number| self.types.in_order[usize::from(*number)] == "political");
        let (kept, other) = if is_town {
            (point, outline)
        } else {
            (outline, point)
        };
        let [kept_record, other_record] = [kept, other].map(|number| *self.record_at(number));
        let mut merged = kept_record;
        let mut take = |field: usize, len: usize| {
            layout::put(&mut merged, field, &other_record[field..field + len]);
        };
        for field in [record::CITY, record::AREA] {
            if layout::u32_at(&kept_record, field) == 0 {
                take(field, 4);
            }
        }
        if layout::u32_at(&kept_record, record::OPENING_HOURS) == 0 {
            take(record::OPENING_HOURS, 4);
            take(record::TIME_ZONE, 2);
        }
        if kept_record[record::BUSINESS_STATUS] == 0 {
            take(record::BUSINESS_STATUS, 1);
        }
        // Of two that do not contradict each other, the longer one has the number.
        let len = |record| self.text_in(record, record::STREET).len();
        if len(&other_record) > len(&kept_record) {
            take(record::STREET, 4);
        }
        if self.types_of(&other_record).len() > self.types_of(&kept_record).len() {
            take(record::TYPE_SET, 2);
        }
        let weight = |record| layout::u16_at(record, record::WEIGHT);
        if weight(&other_record) > weight(&kept_record) {
            take(record::WEIGHT, 2);
        }
        self.records[kept as usize] = merged;
        self.leave_out(PlaceNumber(other));
    }

    /// Takes weight from places that have more prominent ones of their kind around them.
    ///
    /// "Around" is a cell of 0.02° of latitude, about 2 km, and about as wide.
    fn make_room_for_others(&mut self) {
        let mut crowds: Vec<_> = self
            .present()
            .map(|(number, record)| {
                let latitude = layout::i32_at(record, record::LATITUDE_E7);
                let longitude = layout::i32_at(record, record::LONGITUDE_E7);
                let kind = self.types_of(record).first().copied();
                let weight = layout::u16_at(record, record::WEIGHT);
                let crowd = (cell(latitude, longitude), kind.unwrap_or(u16::MAX));
                (crowd, Reverse(weight), number)
            })
            .collect();
        // Equals keep the order in which they were added.
        crowds.sort_unstable();
        for crowd in crowds.chunk_by(|a, b| a.0 == b.0) {
            for (better_count, (_, Reverse(weight), number)) in crowd.iter().enumerate() {
                let weight = weight.saturating_sub(osm::crowd_discount(better_count));
                let record = &mut self.records[*number as usize];
                layout::put(record, record::WEIGHT, &weight.to_le_bytes());
            }
        }
    }
}

/// Those numbers that come more than once, in their order.
fn repeated(mut numbers: Vec<u32>) -> Vec<u32> {
    numbers.sort_unstable();
    let repeated = numbers
        .chunk_by(|a, b| a == b)
        .filter(|same| same.len() > 1);
    repeated.map(|same| same[0]).collect()
}

/// What of a name says which it is: letters and digits, in lower case.
fn essence(name: &str) -> impl Iterator<Item = char> {
    name.chars()
        .filter(|character| character.is_alphanumeric())
        .flat_map(char::to_lowercase)
}

fn height_e7(bounds: Bounds) -> i64 {
    i64::from(bounds.north_e7) - i64::from(bounds.south_e7)
}

/// The places of a name that are between the south and the north of a box, or just beyond.
fn level_with(by_name: &[(u32, i32, u32)], name: u32, bounds: Bounds) -> &[(u32, i32, u32)] {
    let margin = (MARGIN_M * E7_PER_M) as i32;
    let south = bounds.south_e7.saturating_sub(margin);
    let north = bounds.north_e7.saturating_add(margin);
    let start = by_name.partition_point(|(hash, latitude, _)| (*hash, *latitude) < (name, south));
    let end = by_name.partition_point(|(hash, latitude, _)| (*hash, *latitude) <= (name, north));
    let namesakes = by_name.get(start..end).unwrap_or_default();
    if namesakes.len() > MAX_NAMESAKES {
        return &[];
    }
    namesakes
}

/// Whether two addresses may be one: equal, or one lacks what the other tells.
fn is_same_address(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let words = |text| str::split(text, [' ', ',']).filter(|word: &&str| !word.is_empty());
    let mut rest = words(long);
    let is_start = words(short).all(|word| {
        let same = rest.next();
        same.is_some_and(|other| essence(word).eq(essence(other)))
    });
    // A street without a number goes with any number in it; 2 and 2 B are two houses.
    let has_number = words(short).next_back().is_some_and(has_digit);
    is_start && (!has_number || rest.next().is_none())
}

fn has_digit(word: &str) -> bool {
    word.chars().any(|character| character.is_ascii_digit())
}

fn cell(latitude_e7: i32, longitude_e7: i32) -> (i32, i32) {
    const CELL_E7: i32 = 200_000;
    let row = latitude_e7.div_euclid(CELL_E7);
    // Of the row and not of the position, so that all cells of a row have one width.
    let latitude = f64::from(row) * f64::from(CELL_E7) / 1e7;
    let width_e7 = f64::from(CELL_E7) / latitude.to_radians().cos().max(0.01);
    (row, longitude_e7.div_euclid(width_e7 as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_lack_what_another_tells() {
        for (a, b, expected) in [
            ("", "", true),
            ("", "Kaivokatu 2", true),
            ("Kaivokatu 2", "Kaivokatu", true),
            ("Kaivokatu 2", "kaivokatu, 2", true),
            ("Kaivokatu 2", "Kaivokatu 20", false),
            ("Kaivokatu 2", "Kaivokatu 2 B", false),
            ("Kaivokatu 2", "Kaivokatu 4", false),
            ("Kaivokatu 2", "Aleksanterinkatu 2", false),
            ("Kaivokatu", "Kaivokuja 1", false),
        ] {
            assert_eq!(is_same_address(a, b), expected, "{a:?}, {b:?}");
            assert_eq!(is_same_address(b, a), expected, "{b:?}, {a:?}");
        }
    }
}
