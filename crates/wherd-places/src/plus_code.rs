//! Plus codes (Open Location Code): a position as a short text.
//!
//! A code of ten digits is a cell of 1/8000 degree. Digits are taken in pairs, latitude first,
//! each of base 20. In integers, as the specification advises: degrees in floating point put
//! positions on a cell's edge into the wrong cell.
//! <https://github.com/google/open-location-code/blob/main/Documentation/Specification/specification.md>

use wherd_proto::Position;

const ALPHABET: &[u8; 20] = b"23456789CFGHJMPQRVWX";
/// Cells in a degree, each way.
const CELLS_PER_DEGREE: i64 = 8000;
/// Units of a [`Position`] in a cell.
const UNITS_PER_CELL: i64 = 10_000_000 / CELLS_PER_DEGREE;

/// A plus code of ten digits, such as `85633H93+HW`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlusCode([u8; 11]);

impl PlusCode {
    /// The code of the cell that holds a position.
    ///
    /// Longitude 180 is -180. Latitude 90 is in the northernmost cell, whose upper edge it is.
    #[must_use]
    pub fn of(position: Position) -> Self {
        let latitude = i64::from(position.latitude_e7()) + 90 * 10_000_000;
        let longitude = i64::from(position.longitude_e7()) + 180 * 10_000_000;
        let mut row = (latitude / UNITS_PER_CELL).min(180 * CELLS_PER_DEGREE - 1);
        let mut column = (longitude / UNITS_PER_CELL) % (360 * CELLS_PER_DEGREE);

        let mut code = [b'+'; 11];
        // The last pair stands after the plus sign, at 9 and 10.
        for at in [9, 6, 4, 2, 0] {
            code[at] = ALPHABET[(row % 20) as usize];
            code[at + 1] = ALPHABET[(column % 20) as usize];
            row /= 20;
            column /= 20;
        }
        Self(code)
    }

    /// The code that is valid everywhere, `85633H93+HW`.
    #[must_use]
    pub fn global(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The code without the four digits that a town nearby stands for, `3H93+HW`.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.global()[4..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(position: &str, expected: &str) {
        let position = Position::parse(position.as_bytes()).expect("a position");
        assert_eq!(PlusCode::of(position).global(), expected, "{position}");
    }

    #[test]
    fn a_code_is_that_of_the_specification() {
        check("+34.0689300-118.4451270", "85633H93+HW");
        check("+60.1710+024.9414", "9GG65WCR+CH");
        check("+0-180", "62G22222+22");
        // Rows of the specification's test data, encoding.csv, cut to ten digits.
        check("+20.3700625+2.7821875", "7FG49QCJ+2V");
        check("+20.3701125+2.782234375", "7FG49QCJ+2V");
        check("+47.0000625+8.0000625", "8FVC2222+22");
        check("-41.2730625+174.7859375", "4VCPPQGP+Q9");
        check("-89.9999375-179.9999375", "22222222+22");
        check("+1+1", "6FH32222+22");
        check("+1.2+3.4", "6FH56C22+22");
        check("+37.539669125-122.375069724", "849VGJQF+VX");
        check("+35.6+3.033", "8F75J22M+26");
        check("-2.804+7.003", "6F9952W3+C6");
        check("-52.166+13.694", "3FVMRMMV+JJ");
        check("-35.849-93.75", "46P85722+C2");
        check("-37.014-159.936", "43J2X3P7+CJ");
        check("+10.734-168.294", "722HPPM4+JC");
        check("-25.798-59.812", "5862652Q+R6");
        check("+81.654-162.422", "C2HVMH3H+J6");
        check("-68.54504-62.81725", "373VF53M+X4");
        check("+80.0100000+58.57", "CHGW2H6C+22");
        check("+80.0099999+58.57", "CHGW2H5C+X2");
        check("-80.0099999+58.57", "2HFWXHRC+22");
        check("+38.1176000887231+165.441989844555", "8VC74C9R+2Q");
    }

    #[test]
    fn the_north_pole_is_in_the_northernmost_cell() {
        check("+90+1", "CFX3X2X2+X2");
        check("-90-180", "22222222+22");
    }

    #[test]
    fn longitude_180_is_minus_180() {
        check("+1+180", "62H22222+22");
        check("+1-180", "62H22222+22");
        check("+90+180", "C2X2X2X2+X2");
    }

    #[test]
    fn a_local_code_is_without_the_first_four_digits() {
        let ucla = Position::parse(b"+34.0689300-118.4451270").expect("a position");
        assert_eq!(PlusCode::of(ucla).local(), "3H93+HW");
    }
}
