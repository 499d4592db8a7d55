//! Runs of decimal digits, eight at a time: a report has thirty of them.

const ONES: u64 = 0x0101_0101_0101_0101;

/// A number without a sign: `digits` or `digits.digits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decimal<'a> {
    pub(crate) whole: Digits<'a>,
    /// There are none without a point.
    pub(crate) fraction: Digits<'a>,
}

impl<'a> Decimal<'a> {
    /// Splits the one off that `text` begins with; `None` where there are no digits, or none behind
    /// a point.
    // Always, here and below: what the caller does not look at is not even computed.
    #[inline(always)]
    pub(crate) fn split(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (whole, rest) = Digits::split(text);
        let (is_one, (fraction, rest)) = match rest.split_first() {
            Some((b'.', after_point)) => {
                let (fraction, rest) = Digits::split(after_point);
                (fraction.count() > 0, (fraction, rest))
            }
            _ => (true, (Digits::default(), rest)),
        };
        (is_one && whole.count() > 0).then_some((Self { whole, fraction }, rest))
    }
}

/// The decimal digits that a text begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Digits<'a> {
    pub(crate) text: &'a [u8],
    /// The number that the first eight of them spell, or fewer where there are fewer.
    first_eight: u32,
}

impl<'a> Digits<'a> {
    /// Splits them off `text`; there may be none.
    #[inline(always)]
    pub(crate) fn split(text: &'a [u8]) -> (Self, &'a [u8]) {
        let (first_eight, mut count) = leading(text);
        let mut more = count;
        while more == 8 {
            (_, more) = leading(&text[count..]);
            count += more;
        }
        let (text, rest) = text.split_at(count);
        (Self { text, first_eight }, rest)
    }

    pub(crate) const fn count(&self) -> usize {
        self.text.len()
    }

    /// What they spell; `u64::MAX` for all that is larger.
    #[inline]
    pub(crate) fn value(&self) -> u64 {
        let rest = self.text.get(8..).unwrap_or_default();
        rest.iter().fold(u64::from(self.first_eight), |sum, digit| {
            sum.saturating_mul(10)
                .saturating_add(u64::from(digit - b'0'))
        })
    }

    /// What the first eight of them spell with zeros behind them, where they are fewer.
    #[inline]
    pub(crate) fn first_eight_padded(&self) -> u32 {
        const POWERS: [u32; 9] = [
            100_000_000,
            10_000_000,
            1_000_000,
            100_000,
            10_000,
            1_000,
            100,
            10,
            1,
        ];
        // Without any digit it is zero, whatever it is multiplied by.
        self.first_eight * POWERS[self.count().min(8)]
    }
}

/// The number that the first digits of `text` spell, eight at the most, and how many these are.
#[inline(always)]
fn leading(text: &[u8]) -> (u32, usize) {
    let Some(word) = text.first_chunk() else {
        return leading_of_few(text);
    };
    let word = u64::from_le_bytes(*word);
    let count = other_bytes(word).trailing_zeros() / 8;
    // The digits move to the end of the word, and zeros come in before them.
    let digits = word.checked_shl(64 - 8 * count).unwrap_or(0);
    (number_of_eight(digits), count as usize)
}

/// The same of a text that has no eight bytes.
fn leading_of_few(text: &[u8]) -> (u32, usize) {
    let digits = text.iter().map(|byte| byte.wrapping_sub(b'0'));
    let digits = digits.take_while(|digit| *digit <= 9);
    digits.fold((0, 0), |(number, count), digit| {
        (number * 10 + u32::from(digit), count + 1)
    })
}

/// The highest bit of each byte of a word that is no digit.
const fn other_bytes(word: u64) -> u64 {
    // A digit is 0 to 9 now; whatever else has its highest bit set, or gets it by adding 118.
    let values = word ^ (ONES * b'0' as u64);
    (((values & (ONES * 0x7f)) + ONES * (0x80 - 10)) | values) & (ONES * 0x80)
}

/// Neighbours are put together: eight digits, four pairs, two fours, one number.
const fn number_of_eight(word: u64) -> u32 {
    let digits = word & (ONES * 0x0f);
    let pairs = (digits.wrapping_mul(10 * 256 + 1) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100 * 65_536 + 1) >> 16) & 0x0000_ffff_0000_ffff;
    (fours.wrapping_mul(10_000 * 4_294_967_296 + 1) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_byte_but_a_digit_is_one() {
        for place in 0..8 {
            for byte in 0..=u8::MAX {
                let mut text = *b"90123456";
                text[place] = byte;
                let expected = if byte.is_ascii_digit() { 8 } else { place };
                assert_eq!(Digits::split(&text).0.count(), expected, "{text:?}");
            }
        }
    }

    #[test]
    fn what_is_too_large_is_the_largest() {
        for (text, expected) in [
            ("18446744073709551615", u64::MAX),
            ("18446744073709551616", u64::MAX),
            ("00000000018446744073709551614", u64::MAX - 1),
            ("99999999999999999999999999999999999", u64::MAX),
        ] {
            assert_eq!(Digits::split(text.as_bytes()).0.value(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn digits_are_split_off_and_are_the_number_that_they_spell(
            value in 0..10_u64.pow(19),
            zeros in 0..30_usize,
            is_none in any::<bool>(),
            rest in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            prop_assume!(!rest.first().is_some_and(u8::is_ascii_digit));
            let text = if is_none { String::new() } else { format!("{value:00$}", zeros) };
            let whole = [text.as_bytes(), &rest].concat();
            let (digits, after) = Digits::split(&whole);
            prop_assert_eq!((digits.text, after), (text.as_bytes(), &rest[..]));
            prop_assert_eq!(digits.value(), if is_none { 0 } else { value });
            let padded = format!("{text:0<8}");
            prop_assert_eq!(digits.first_eight_padded().to_string(), {
                let eight = padded[..8].trim_start_matches('0');
                if eight.is_empty() { "0" } else { eight }
            });
        }
    }
}
