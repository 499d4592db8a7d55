//! Messages of protocol buffers, field by field.
//!
//! <https://protobuf.dev/programming-guides/encoding/>

/// A result within a block, whose offset the caller knows: the error is a fragment of a sentence.
pub(super) type InBlock<T> = Result<T, &'static str>;

/// The fields of a message of protocol buffers that are left to be read.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Skipped,
}

impl<'a> Fields<'a> {
    /// The number and the value of the next field; `None` at the end.
    pub(super) fn next(&mut self) -> InBlock<Option<(u64, Value<'a>)>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = varint(&mut self.0)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut self.0)?),
            1 => self.take(8).map(|_| Value::Skipped)?,
            2 => {
                let len = varint(&mut self.0)?;
                Value::Bytes(self.take(len)?)
            }
            5 => self.take(4).map(|_| Value::Skipped)?,
            _ => return Err("a field is of no known kind"),
        };
        Ok(Some((key >> 3, value)))
    }

    fn take(&mut self, len: u64) -> InBlock<&'a [u8]> {
        let (taken, rest) = usize::try_from(len)
            .ok()
            .and_then(|len| self.0.split_at_checked(len))
            .ok_or("a field ends too late")?;
        self.0 = rest;
        Ok(taken)
    }
}

pub(super) fn varint(bytes: &mut &[u8]) -> InBlock<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or("a number ends too late")?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Ok(number);
        }
    }
    Err("a number is too long")
}

/// A zigzag number, as protocol buffers write signed ones.
pub(super) const fn signed(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}
