//! Positions: ISO 6709 decimal degrees, text to integers and back.

use crate::digits::{Decimal, Digits};
use thiserror::Error;

/// Units of [`Position`] in one degree: a unit is about 11 mm on the ground.
const UNITS_PER_DEGREE: i32 = 10_000_000;

/// A point on the earth (WGS 84), in integers of 1e-7 degree.
///
/// Latitude is within ±90°, longitude within ±180°, both ends included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    latitude_e7: i32,
    longitude_e7: i32,
}

/// Why a text is not a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PositionError {
    /// It is not `±digits[.digits]±digits[.digits]`.
    #[error("a position is written like +34.068930-118.445127")]
    Malformed,
    /// Latitude is beyond ±90 or longitude beyond ±180 degrees.
    #[error("latitude goes from -90 to +90, longitude from -180 to +180")]
    OutOfRange,
}

impl Position {
    /// Makes a position of units of 1e-7 degree; `None` where it is not on the earth.
    #[must_use]
    pub const fn from_e7(latitude_e7: i32, longitude_e7: i32) -> Option<Self> {
        if latitude_e7.unsigned_abs() > 90 * UNITS_PER_DEGREE as u32
            || longitude_e7.unsigned_abs() > 180 * UNITS_PER_DEGREE as u32
        {
            return None;
        }
        Some(Self {
            latitude_e7,
            longitude_e7,
        })
    }

    /// Makes a position of degrees, rounded to the nearest unit; `None` where it is not on the
    /// earth or not a number.
    #[must_use]
    pub fn from_degrees(latitude: f64, longitude: f64) -> Option<Self> {
        let unit = f64::from(UNITS_PER_DEGREE);
        let (lat, lon) = ((latitude * unit).round(), (longitude * unit).round());
        if lat.abs() <= 90.0 * unit && lon.abs() <= 180.0 * unit {
            Self::from_e7(lat as i32, lon as i32)
        } else {
            None
        }
    }

    /// Reads ISO 6709 decimal degrees, the whole of `text`, such as `+34.068930-118.445127`.
    ///
    /// Both signs and both integer parts are required; a point asks for digits after it. Digits
    /// beyond the seventh of a fraction do not move the position, but they count for the range:
    /// `+90.00000000001+0` is not on the earth.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &[u8]) -> Result<Self, PositionError> {
        match Self::split(text)? {
            (position, []) => Ok(position),
            _ => Err(PositionError::Malformed),
        }
    }

    /// Reads the position that `text` begins with, and what follows it.
    pub(crate) fn split(text: &[u8]) -> Result<(Self, &[u8]), PositionError> {
        let (latitude, rest) = Angle::split(text, 90)?;
        let (longitude, rest) = Angle::split(rest, 180)?;
        let position = Self {
            latitude_e7: latitude.e7(),
            longitude_e7: longitude.e7(),
        };
        Ok((position, rest))
    }

    /// What follows the position that `text` begins with.
    pub(crate) fn skip(text: &[u8]) -> Result<&[u8], PositionError> {
        let (_, rest) = Angle::split(text, 90)?;
        let (_, rest) = Angle::split(rest, 180)?;
        Ok(rest)
    }

    /// Latitude in units of 1e-7 degree, north positive.
    #[must_use]
    pub const fn latitude_e7(self) -> i32 {
        self.latitude_e7
    }

    /// Longitude in units of 1e-7 degree, east positive.
    #[must_use]
    pub const fn longitude_e7(self) -> i32 {
        self.longitude_e7
    }

    /// Latitude in degrees, north positive.
    #[must_use]
    pub fn latitude_degrees(self) -> f64 {
        f64::from(self.latitude_e7) / f64::from(UNITS_PER_DEGREE)
    }

    /// Longitude in degrees, east positive.
    #[must_use]
    pub fn longitude_degrees(self) -> f64 {
        f64::from(self.longitude_e7) / f64::from(UNITS_PER_DEGREE)
    }
}

/// `+34.0689300-118.4451270`: the text that [`Position::parse`] reads back to the same position.
impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for angle in [self.latitude_e7, self.longitude_e7] {
            let sign = if angle < 0 { '-' } else { '+' };
            let (whole, fraction) = (
                angle.unsigned_abs() / UNITS_PER_DEGREE as u32,
                angle.unsigned_abs() % UNITS_PER_DEGREE as u32,
            );
            write!(f, "{sign}{whole}.{fraction:07}")?;
        }
        Ok(())
    }
}

/// A signed angle, within its range.
struct Angle<'a> {
    is_negative: bool,
    degrees: u64,
    fraction: Digits<'a>,
}

impl<'a> Angle<'a> {
    /// Reads the one that `text` begins with, and what follows it.
    #[inline(always)]
    fn split(text: &'a [u8], max_degrees: u64) -> Result<(Self, &'a [u8]), PositionError> {
        let (is_negative, digits) = match text.split_first() {
            Some((b'+', rest)) => (false, rest),
            Some((b'-', rest)) => (true, rest),
            _ => return Err(PositionError::Malformed),
        };
        let (Decimal { whole, fraction }, rest) =
            Decimal::split(digits).ok_or(PositionError::Malformed)?;
        // Any number of leading zeros is fine, any number of other digits out of range.
        let degrees = whole.value();
        let is_more = || fraction.text.iter().any(|digit| *digit != b'0');
        if degrees > max_degrees || (degrees == max_degrees && is_more()) {
            return Err(PositionError::OutOfRange);
        }
        let angle = Self {
            is_negative,
            degrees,
            fraction,
        };
        Ok((angle, rest))
    }

    /// In units of 1e-7 degree; digits that are finer are dropped.
    fn e7(&self) -> i32 {
        let units = self.fraction.first_eight_padded() / 10;
        // At most 180e7 + 9_999_999: no overflow.
        let units = self.degrees as i32 * UNITS_PER_DEGREE + units as i32;
        if self.is_negative { -units } else { units }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: Result<(i32, i32), PositionError>) {
        let parsed = Position::parse(text.as_bytes()).map(|p| (p.latitude_e7, p.longitude_e7));
        assert_eq!(parsed, expected, "{text:?}");
    }

    #[test]
    fn reads_what_iso_6709_allows() {
        check("+34.068930-118.445127", Ok((340_689_300, -1_184_451_270)));
        check("+34-118", Ok((340_000_000, -1_180_000_000)));
        check("+34.0-118.0", Ok((340_000_000, -1_180_000_000)));
        check("-0-0", Ok((0, 0)));
        check(
            "+000090.0000-000180.000000000",
            Ok((900_000_000, -1_800_000_000)),
        );
        check("+0.12345678901+0.1", Ok((1_234_567, 1_000_000)));
        check(
            "-89.99999999+179.9999999",
            Ok((-899_999_999, 1_799_999_999)),
        );
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "+",
            "+34",
            "+34.0",
            "34.0-118.0",
            "+34.0118.0",
            "+34.-118",
            "+34.0-118.",
            "+.5-118",
            "+34.0-.5",
            "+34.0-118.0 ",
            " +34.0-118.0",
            "+34.0,-118.0",
            "+34e0-118",
            "+34.0-118.0/",
            "+34.0-118.0+5",
            "+34.0.0-118",
            "34.0N118.0W",
            "+34-118N",
            "++34-118",
            "+34--118",
            "+\u{664}-118",
            "+nan-118",
            "+inf+0",
            "+1_0+0",
        ] {
            check(text, Err(PositionError::Malformed));
        }
        for text in [
            "+90.0000001+0",
            "-90.00000000000001+0",
            "+91+0",
            "+0+180.1",
            "+0-180.00000000000001",
            "+0-181",
            "+99999999999999999999+0",
            "+0+4294967296",
        ] {
            check(text, Err(PositionError::OutOfRange));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(lat in -900_000_000..=900_000_000_i32, lon in -1_800_000_000..=1_800_000_000_i32) {
            let position = Position::from_e7(lat, lon).expect("on the earth");
            prop_assert_eq!(Position::parse(position.to_string().as_bytes()), Ok(position));
        }

        #[test]
        fn no_bytes_panic(text in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Position::parse(&text);
        }
    }
}
