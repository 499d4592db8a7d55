//! Tags of OpenStreetMap to places: what a thing is in Google's words, and how prominent.
//!
//! What a tag means is told at <https://wiki.openstreetmap.org/wiki/Map_features>, Google's types at
//! <https://developers.google.com/maps/documentation/places/web-service/legacy/supported_types>.
//! The rows are in `kinds`; this file says how they are applied. Remote providers that answer in
//! tags of OpenStreetMap go through it too, so that a place is the same whoever told it.

mod kinds;

use crate::place::{BusinessStatus, Place, PlaceId};
use kinds::{KINDS, Kind};
use wherd_proto::Position;

/// The tags of one thing: keys and values.
#[derive(Clone, Copy, Debug)]
pub struct Tags<'a>(pub &'a [(&'a str, &'a str)]);

/// What tags say of a place, apart from where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// What people call it.
    pub name: String,
    /// Google's types, the most telling first.
    pub types: Vec<String>,
    /// Street and number; empty where no street is known.
    pub street: String,
    /// The number where the street is not known: something else may tell the street.
    pub house_number: String,
    /// The town it is in; empty where not known.
    pub city: String,
    /// As they were tagged; empty where not known.
    pub opening_hours: String,
    /// Whether it is in business; `None` where it is no business.
    pub business_status: Option<BusinessStatus>,
    /// Prominence by itself, without regard to what is around it.
    pub weight: u16,
}

impl Described {
    /// The place that is so described, there.
    #[must_use]
    pub fn into_place(self, id: PlaceId, position: Position) -> Place {
        Place {
            id,
            position,
            name: self.name,
            types: self.types,
            street: self.street,
            city: self.city,
            area: String::new(),
            opening_hours: self.opening_hours,
            time_zone: String::new(),
            business_status: self.business_status,
            weight: self.weight,
        }
    }

    pub(crate) fn is_political(&self) -> bool {
        self.types.iter().any(|name| name == "political")
    }
}

impl<'a> Tags<'a> {
    /// The value of a key; the first, where the key comes twice.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'a str> {
        let tag = self.0.iter().find(|(name, _)| *name == key);
        tag.map(|(_, value)| *value)
    }

    fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }
}

/// What tags say, where they are those of a place with a name; `None` for all else, such as a
/// street, a bus route or a bench.
#[must_use]
pub fn describe(tags: Tags<'_>) -> Option<Described> {
    let name = tags.get("name")?.trim();
    if name.is_empty() {
        return None;
    }
    let kinds = kinds_of(tags);
    let first = kinds.first()?;
    Some(Described {
        name: name.to_owned(),
        types: types_of(&kinds),
        street: street(tags),
        house_number: house_number(tags).to_owned(),
        city: first_of(tags, &["addr:city", "contact:city", "addr:suburb"]).to_owned(),
        opening_hours: first_of(tags, &["opening_hours"]).to_owned(),
        business_status: (!first.is_political()).then(|| business_status(tags)),
        weight: weight(tags, first),
    })
}

/// The keys of all tags that make something a place, each once.
pub fn keys() -> impl Iterator<Item = &'static str> {
    let keys: std::collections::BTreeSet<_> = KINDS.iter().map(|kind| kind.key).collect();
    keys.into_iter()
}

/// All rows that fit, in their order.
fn kinds_of(tags: Tags<'_>) -> Vec<&'static Kind> {
    let fits = |kind: &&Kind| {
        let values = tags.get(kind.key).into_iter().flat_map(|v| v.split(';'));
        values.map(str::trim).any(|value| kind.has_value(value))
    };
    KINDS.iter().filter(fits).collect()
}

/// The types of all rows, each once, and those that every establishment has.
fn types_of(kinds: &[&Kind]) -> Vec<String> {
    let is_political = kinds.first().is_some_and(|kind| kind.is_political());
    let of_all: &[&str] = if is_political {
        &["political"]
    } else {
        &["point_of_interest", "establishment"]
    };
    let of_kinds = kinds
        .iter()
        .filter(|kind| kind.is_political() == is_political)
        .flat_map(|kind| kind.types);
    let mut types: Vec<String> = Vec::new();
    for name in of_kinds.chain(of_all) {
        if !types.iter().any(|earlier| earlier == name) {
            types.push((*name).to_owned());
        }
    }
    types
}

/// Street and number as they were tagged, in one of the ways that there are.
fn street(tags: Tags<'_>) -> String {
    let street = first_of(tags, &["addr:street", "addr:place", "contact:street"]);
    if street.is_empty() {
        return first_of(tags, &["addr:full", "contact:full"]).to_owned();
    }
    with_number(street, house_number(tags))
}

fn house_number(tags: Tags<'_>) -> &str {
    first_of(tags, &["addr:housenumber", "contact:housenumber"])
}

/// Street and number, in the order that most of the world writes.
pub(crate) fn with_number(street: &str, number: &str) -> String {
    if number.is_empty() {
        street.to_owned()
    } else {
        format!("{street} {number}")
    }
}

/// The value of the first of some keys that has any; empty where none has.
fn first_of<'a>(tags: Tags<'a>, keys: &[&str]) -> &'a str {
    let mut values = keys.iter().filter_map(|key| tags.get(key)).map(str::trim);
    values.find(|value| !value.is_empty()).unwrap_or_default()
}

/// What is out of business loses its tag, by the mappers' custom, or says that it never opens.
fn business_status(tags: Tags<'_>) -> BusinessStatus {
    match tags.get("opening_hours").map(str::trim) {
        Some("off" | "closed") => BusinessStatus::ClosedTemporarily,
        _ => BusinessStatus::Operational,
    }
}

/// How prominent a place is: by its kind, and by what shows that people care for it.
///
/// In thousandths of an order of magnitude. Nobody counts visitors for OpenStreetMap, but an
/// encyclopedia's article, names in other languages, a web site and opening hours go with them. The
/// branch of a chain is like those in every other town.
fn weight(tags: Tags<'_>, kind: &Kind) -> u16 {
    if let Some(population) = population(tags).filter(|_| kind.is_political()) {
        return (1000.0 * population.max(10.0).log10()) as u16;
    }
    let has_article = tags.has("wikipedia") || tags.has("wikidata");
    let has_page = tags.has("website") || tags.has("contact:website") || tags.has("url");
    let has_phone = tags.has("phone") || tags.has("contact:phone");
    let translated = tags.0.iter().filter(|(key, _)| key.starts_with("name:"));
    let signals = [
        (has_article, 300),
        (has_page, 150),
        (tags.has("opening_hours"), 150),
        (has_phone, 50),
        (tags.has("cuisine"), 100),
        (tags.has("stars") || tags.has("heritage"), 100),
    ];
    let of_signals: u16 = signals.iter().filter(|(is, _)| *is).map(|(_, w)| w).sum();
    let of_names = 15 * translated.count().min(20) as u16;
    let is_of_chain = tags.has("brand") || tags.has("brand:wikidata");
    kind.weight + of_signals + of_names - if is_of_chain { 250 } else { 0 }
}

/// Inhabitants, where they are told as a plain number of a sensible size.
fn population(tags: Tags<'_>) -> Option<f64> {
    let digits: String = tags
        .get("population")?
        .chars()
        .filter(|c| !matches!(c, ' ' | ',' | '.'))
        .collect();
    let population = digits.parse::<u32>().ok().map(f64::from);
    population.filter(|number| *number >= 1.0)
}

/// How much less a place weighs that has `better_count` more prominent ones of its kind around it.
///
/// The best restaurant of a quarter is news to those who ask what is there, the twentieth is not: so
/// answers are a mix even where there are two hundred restaurants and one museum.
#[must_use]
pub fn crowd_discount(better_count: usize) -> u16 {
    (150.0 * (1.0 + better_count as f64).log2()) as u16
}

/// What a word of another data set means that is Google's or OpenStreetMap's too: its types and weight.
///
/// Google's words come first, so that `bar` is not a value of some other key.
pub(crate) fn kind_of_word(word: &str) -> Option<(&'static [&'static str], u16)> {
    let is_type = |kind: &&Kind| kind.types.first() == Some(&word);
    let found = KINDS.iter().find(is_type);
    let found = found.or_else(|| KINDS.iter().find(|kind| kind.is_named(word)));
    found.map(|kind| (kind.types, kind.weight))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tags: &[(&str, &str)], street: &str, city: &str) {
        let of_shop = [("name", "A"), ("shop", "books")];
        let tags = [&of_shop, tags].concat();
        let described = describe(Tags(&tags)).expect("it is a shop with a name");
        assert_eq!(
            (described.street.as_str(), described.city.as_str()),
            (street, city)
        );
    }

    #[test]
    fn a_town_weighs_what_its_inhabitants_do() {
        for (population, weight) in [
            ("10000", 4000),
            ("1 000 000", 6000),
            ("643,272", 5808),
            ("3", 1000),
        ] {
            let tags = [("name", "A"), ("place", "town"), ("population", population)];
            let described = describe(Tags(&tags)).expect("it is a town with a name");
            assert_eq!(described.weight, weight, "{population}");
        }
        // What is no number of people says nothing.
        let weight = |population| {
            let tags = [("name", "A"), ("place", "town"), ("population", population)];
            describe(Tags(&tags)).map(|described| described.weight)
        };
        for population in ["0", "many", "-5", "1e9", "99999999999"] {
            assert_eq!(weight(population), weight(""), "{population}");
        }
    }

    #[test]
    fn an_address_is_tagged_in_many_ways() {
        check(
            &[("addr:street", "A"), ("addr:housenumber", "1")],
            "A 1",
            "",
        );
        check(&[("addr:street", " A "), ("addr:city", " B ")], "A", "B");
        check(&[("addr:place", "A"), ("addr:housenumber", "1")], "A 1", "");
        check(
            &[("contact:street", "A"), ("contact:housenumber", "1")],
            "A 1",
            "",
        );
        check(&[("contact:street", "A"), ("contact:city", "B")], "A", "B");
        check(
            &[("addr:full", "1 A, B"), ("addr:housenumber", "1")],
            "1 A, B",
            "",
        );
        check(&[("addr:street", ""), ("addr:full", "1 A")], "1 A", "");
        check(&[("addr:housenumber", "1"), ("addr:suburb", "B")], "", "B");
        check(&[("addr:city", "B"), ("addr:suburb", "C")], "", "B");
    }
}
