//! Values of GeoJSON that are taken as they come, whatever they are.

use super::super::middle::Middle;
use super::super::properties::normal_key;
use super::{MAX_FEATURE_BYTES, Reading};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// A seed that takes any value, by one of its own visits.
macro_rules! any_value {
    ($seed:ty, $value:ty) => {
        impl<'de> DeserializeSeed<'de> for $seed {
            type Value = $value;

            fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<$value, D::Error> {
                from.deserialize_any(self)
            }
        }
    };
}

/// A text or a number as a text; nothing for all else.
pub(super) struct Scalar;

any_value!(Scalar, Option<String>);

impl<'de> Visitor<'de> for Scalar {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(text.to_owned()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Some(number.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Some(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Some(number.to_string()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

/// Values by their keys, those of objects within as `names.primary`. An array is a list between semicolons.
pub(super) struct Flat<'a> {
    key: String,
    out: &'a mut Vec<(String, String)>,
}

impl<'a> Flat<'a> {
    pub(super) fn new(key: &str, out: &'a mut Vec<(String, String)>) -> Self {
        Self {
            key: key.to_owned(),
            out,
        }
    }

    fn put(self, value: String) {
        self.out.push((self.key, value));
    }
}

any_value!(Flat<'_>, ());

impl<'de> Visitor<'de> for Flat<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.put(text.to_owned());
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.put(number.to_string());
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.put(number.to_string());
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.put(number.to_string());
        Ok(())
    }

    fn visit_bool<E>(self, is: bool) -> Result<(), E> {
        self.put(if is { "yes" } else { "no" }.to_owned());
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let begin = self.out.len();
        while seq
            .next_element_seed(Flat::new(&self.key, self.out))?
            .is_some()
        {}
        let values = self.out[begin..].iter();
        let values: Vec<&str> = values
            .filter(|(key, _)| *key == self.key)
            .map(|(_, value)| value.as_str())
            .collect();
        if values.len() > 1 {
            let list = values.join(";");
            let key = &self.key;
            let mut number = 0;
            self.out.retain(|(other, _)| {
                number += 1;
                number <= begin || other != key
            });
            self.out.push((self.key, list));
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let key = normal_key(&key);
            let key = if self.key.is_empty() {
                key
            } else {
                format!("{}.{key}", self.key)
            };
            map.next_value_seed(Flat { key, out: self.out })?;
        }
        Ok(())
    }
}

/// Where a feature is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Geometry {
    #[default]
    None,
    Points(Middle),
    Bad(&'static str),
}

impl Geometry {
    fn add(&mut self, latitude: f64, longitude: f64) {
        if let Self::Points(middle) = self {
            middle.add(latitude, longitude);
        }
    }
}

const NO_GEOMETRY: &str = "the geometry is no object with a type and coordinates";
const NO_COORDINATES: &str =
    "the coordinates are not longitude and latitude, two numbers, or arrays of such";

/// Reads a geometry of any type: all of its points count, however deep they are.
pub(super) struct Outline<'a> {
    pub(super) geometry: &'a mut Geometry,
    pub(super) reading: &'a Reading,
}

any_value!(Outline<'_>, ());

/// Visits that say that a value is not what is expected here.
macro_rules! else_bad {
    ($($visit:ident $of:ty),*) => {
        $(fn $visit<E>(self, _: $of) -> Result<Self::Value, E> {
            Ok(self.bad())
        })*
    };
}

impl Outline<'_> {
    fn bad(self) {
        *self.geometry = Geometry::Bad(NO_GEOMETRY);
    }
}

impl<'de> Visitor<'de> for Outline<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a geometry")
    }

    else_bad! { visit_bool bool, visit_u64 u64, visit_i64 i64, visit_f64 f64, visit_str &str }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        self.bad();
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut has_points = false;
        while let Some(key) = map.next_key::<String>()? {
            let (geometry, reading) = (&mut *self.geometry, self.reading);
            match key.as_str() {
                "coordinates" => {
                    has_points = true;
                    let coordinates = Coordinates { geometry, reading };
                    if map.next_value_seed(coordinates)?.is_some() {
                        *self.geometry = Geometry::Bad(NO_COORDINATES);
                    }
                }
                "geometries" => {
                    has_points = true;
                    map.next_value_seed(Outlines(Outline { geometry, reading }))?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if !has_points {
            self.bad();
        }
        Ok(())
    }
}

/// The geometries of a collection.
struct Outlines<'a>(Outline<'a>);

any_value!(Outlines<'_>, ());

impl Outlines<'_> {
    fn bad(self) {
        self.0.bad();
    }
}

impl<'de> Visitor<'de> for Outlines<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("geometries")
    }

    else_bad! { visit_bool bool, visit_u64 u64, visit_i64 i64, visit_f64 f64, visit_str &str }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.bad();
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.bad();
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let (geometry, reading) = (self.0.geometry, self.0.reading);
        while seq
            .next_element_seed(Outline { geometry, reading })?
            .is_some()
        {}
        Ok(())
    }
}

/// A point, or an array of what has points.
struct Coordinates<'a> {
    geometry: &'a mut Geometry,
    reading: &'a Reading,
}

any_value!(Coordinates<'_>, Option<f64>);

impl Coordinates<'_> {
    fn bad(self) -> Option<f64> {
        *self.geometry = Geometry::Bad(NO_COORDINATES);
        None
    }
}

impl<'de> Visitor<'de> for Coordinates<'_> {
    /// The number, where it is one.
    type Value = Option<f64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("coordinates")
    }

    else_bad! { visit_bool bool, visit_str &str }

    fn visit_u64<E>(self, number: u64) -> Result<Option<f64>, E> {
        Ok(Some(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Option<f64>, E> {
        Ok(Some(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Option<f64>, E> {
        Ok(Some(number))
    }

    fn visit_unit<E>(self) -> Result<Option<f64>, E> {
        Ok(self.bad())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<f64>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(self.bad())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Option<f64>, A::Error> {
        let (mut numbers, mut number_count, mut array_count) = ([0.0; 2], 0, 0);
        loop {
            let (geometry, reading) = (&mut *self.geometry, self.reading);
            match seq.next_element_seed(Coordinates { geometry, reading })? {
                None => break,
                Some(None) => array_count += 1,
                Some(Some(number)) => {
                    // The third is a height.
                    if let Some(place) = numbers.get_mut(number_count) {
                        *place = number;
                    }
                    number_count += 1;
                }
            }
        }
        match (number_count, array_count) {
            (0, _) => {}
            (2.., 0) => {
                self.geometry.add(numbers[1], numbers[0]);
                // Points are not kept, so there may be any number of them.
                self.reading.allow(MAX_FEATURE_BYTES);
            }
            _ => return Ok(self.bad()),
        }
        Ok(None)
    }
}
