//! Times: POSIX seconds with a fraction, text to integer nanoseconds and back.

use crate::digits::Decimal;
use thiserror::Error;

const NS_PER_SECOND: i128 = 1_000_000_000;
/// More whole seconds than the universe has seen; a limit so that the integer below is exact.
const MAX_WHOLE_DIGITS: usize = 18;
const SECONDS_LIMIT: u64 = 10_u64.pow(MAX_WHOLE_DIGITS as u32);

/// A client's POSIX time in nanoseconds, never negative, below 1e27.
///
/// 128 bits, because a client may claim any time, and the skew that it is told is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i128);

/// Why a text is not a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TimestampError {
    /// It is not `digits[.digits]`.
    #[error("a time is written like 1621464827.959498503")]
    Malformed,
    /// It has more than eighteen digits of whole seconds.
    #[error("a time has at most 18 digits before its point")]
    OutOfRange,
}

impl Timestamp {
    /// Makes a time of nanoseconds since 1970.
    #[must_use]
    pub const fn from_ns(ns: u64) -> Self {
        Self(ns as i128)
    }

    /// Reads `digits[.digits]`, the whole of `text`. Digits beyond the ninth of a fraction are
    /// allowed and dropped.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &[u8]) -> Result<Self, TimestampError> {
        let Some((Decimal { whole, fraction }, [])) = Decimal::split(text) else {
            return Err(TimestampError::Malformed);
        };
        let seconds = whole.value();
        if seconds >= SECONDS_LIMIT {
            return Err(TimestampError::OutOfRange);
        }
        let ninth = fraction.text.get(8).map_or(0, |digit| digit - b'0');
        let ns = fraction.first_eight_padded() * 10 + u32::from(ninth);
        Ok(Self(i128::from(seconds) * NS_PER_SECOND + i128::from(ns)))
    }

    /// Nanoseconds since 1970; `i64::MAX` (the year 2262) for every time after that.
    #[must_use]
    pub fn saturating_ns(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// How long after this time `received_at_ns` was: negative where the client's clock is ahead.
    #[must_use]
    pub fn skew_at(self, received_at_ns: i64) -> Skew {
        Skew(i128::from(received_at_ns) - self.0)
    }
}

/// `1621464827.959498503`: always nine decimals.
impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}.{:09}",
            self.0 / NS_PER_SECOND,
            self.0 % NS_PER_SECOND
        )
    }
}

/// Receive time at the origin minus the client's time, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skew(i128);

impl Skew {
    /// Writes it as `+0.263873386`: sign always, fixed point, nine decimals.
    pub fn write(self, out: &mut Vec<u8>) {
        out.push(if self.0 < 0 { b'-' } else { b'+' });
        let ns = self.0.unsigned_abs();
        // The usual skew fits 64 bits, whose division is several times cheaper.
        match u64::try_from(ns) {
            Ok(ns) => {
                let (whole, fraction) = (ns / 1_000_000_000, (ns % 1_000_000_000) as u32);
                let mut digits = itoa::Buffer::new();
                out.extend_from_slice(digits.format(whole).as_bytes());
                let point = out.len();
                // Ten digits: the first, a one, keeps the zeros behind it, and gives way to the point.
                out.extend_from_slice(digits.format(1_000_000_000 + fraction).as_bytes());
                out[point] = b'.';
            }
            Err(_) => out.extend_from_slice(
                format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000).as_bytes(),
            ),
        }
    }

    /// Whether `text` is what [`Skew::write`] could have written.
    #[must_use]
    pub fn is_skew(text: &[u8]) -> bool {
        let Some((b'+' | b'-', unsigned)) = text.split_first() else {
            return false;
        };
        let Some((Decimal { whole, fraction }, [])) = Decimal::split(unsigned) else {
            return false;
        };
        let is_canonical = whole.text == b"0" || whole.text[0] != b'0';
        // Nothing is written as a negative zero.
        is_canonical
            && text != b"-0.000000000"
            && whole.count() <= MAX_WHOLE_DIGITS
            && fraction.count() == 9
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: Result<i128, TimestampError>) {
        assert_eq!(
            Timestamp::parse(text.as_bytes()).map(|t| t.0),
            expected,
            "{text:?}"
        );
    }

    #[test]
    fn reads_seconds_to_the_nanosecond() {
        check("1621464827.959498503", Ok(1_621_464_827_959_498_503));
        check("1621464827", Ok(1_621_464_827_000_000_000));
        check("0", Ok(0));
        check("0.5", Ok(500_000_000));
        check("000000000000000000000000000000001.0", Ok(1_000_000_000));
        check("1.1234567891", Ok(1_123_456_789));
        check(
            "999999999999999999.999999999999",
            Ok(999_999_999_999_999_999_999_999_999),
        );
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "", ".", "1.", ".5", "+1", "-1", "1e9", "1E9", "nan", "NaN", "inf", "1_000", "1.5.5",
            "1,5", "0x10", " 1", "1 ", "1.5f", "\u{661}",
        ] {
            check(text, Err(TimestampError::Malformed));
        }
        check("1000000000000000000", Err(TimestampError::OutOfRange));
    }

    fn check_skew(received_at_ns: i64, time: &str, expected: &str) {
        let skew = Timestamp::parse(time.as_bytes())
            .expect("a time")
            .skew_at(received_at_ns);
        let mut out = Vec::new();
        skew.write(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected);
        assert!(Skew::is_skew(&out));
    }

    #[test]
    fn a_skew_has_a_sign_and_nine_decimals() {
        check_skew(1_000_000_000, "0.736126614", "+0.263873386");
        check_skew(1_000_000_000, "1", "+0.000000000");
        check_skew(1_000_000_000, "1.000000001", "-0.000000001");
        check_skew(1_700_000_000_000_000_000, "0", "+1700000000.000000000");
        check_skew(
            0,
            "999999999999999999.999999999",
            "-999999999999999999.999999999",
        );
    }

    #[test]
    fn only_a_canonical_skew_is_one() {
        for text in [
            "",
            "0.000000000",
            "+.000000000",
            "+0.00000000",
            "+00.000000000",
            "+1.0",
            "+1",
            "-0.000000000",
        ] {
            assert!(!Skew::is_skew(text.as_bytes()), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(ns in any::<u64>()) {
            let time = Timestamp::from_ns(ns);
            prop_assert_eq!(Timestamp::parse(time.to_string().as_bytes()), Ok(time));
        }

        #[test]
        fn no_bytes_panic(text in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = (Timestamp::parse(&text), Skew::is_skew(&text));
        }
    }
}
