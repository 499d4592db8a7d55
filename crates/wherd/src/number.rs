//! Numbers of the command line.

/// A plain number from 0 to `most`: no sign, no exponent, no "nan".
pub(crate) fn number(text: &str, most: f64) -> Option<f64> {
    let is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number = text.parse().ok().filter(|_| is_plain)?;
    (0.0..=most).contains(&number).then_some(number)
}
