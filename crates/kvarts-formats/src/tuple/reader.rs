//! From bytes to items. Nothing here panics on any bytes, and what is handed out is never longer than what was read.
use super::{
    BYTES, DOUBLE, ESCAPE, FALSE, Item, NEGATIVE_LONG, NESTED, NESTING_MAX, NULL, POSITIVE_LONG, SINGLE, TEXT, TRUE,
    UUID, VERSIONSTAMP, ZERO, is_complete, turned_back,
};
use crate::{FormatError, Result};
use std::borrow::Cow;

/// Reads a tuple, item by item.
pub struct Reader<'a> {
    data: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first item.
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0, depth: 0 }
    }

    /// Returns the next item, or `None` at the end. Errors: `Corrupt`, after which there is nothing more to ask for.
    #[expect(clippy::should_implement_trait, reason = "an iterator of results would go on after an error")]
    pub fn next(&mut self) -> Result<Option<Item<'a>>> {
        let begun = self.at;
        let Some(&code) = self.data.get(begun) else {
            return if self.depth == 0 { Ok(None) } else { Err(FormatError::corrupt(begun, "a tuple has no end")) };
        };
        self.at += 1;
        let item = match code {
            NULL => self.null_or_end(),
            BYTES => Item::Bytes(self.until_zero()?),
            TEXT => Item::Text(self.text()?),
            NESTED => self.begin()?,
            NEGATIVE_LONG => self.long(true)?,
            POSITIVE_LONG => self.long(false)?,
            ZERO => Item::Int { negative: false, magnitude: 0 },
            _ if code > NEGATIVE_LONG && code < POSITIVE_LONG => self.int(code)?,
            SINGLE => Item::Single(u32::from_be_bytes(turned_back(self.array()?))),
            DOUBLE => Item::Double(u64::from_be_bytes(turned_back(self.array()?))),
            FALSE => Item::Bool(false),
            TRUE => Item::Bool(true),
            UUID => Item::Uuid(self.array()?),
            VERSIONSTAMP => Item::Versionstamp(
                Some(self.array()?)
                    .filter(is_complete)
                    .ok_or(FormatError::corrupt(begun, "an incomplete versionstamp"))?,
            ),
            _ => return Err(FormatError::corrupt(begun, "no item of a tuple begins so")),
        };
        Ok(Some(item))
    }

    /// In a nested tuple a zero is its end, unless the escape follows.
    fn null_or_end(&mut self) -> Item<'a> {
        if self.depth == 0 {
            return Item::Null;
        }
        if self.data.get(self.at) == Some(&ESCAPE) {
            self.at += 1;
            return Item::Null;
        }
        self.depth -= 1;
        Item::End
    }

    fn begin(&mut self) -> Result<Item<'a>> {
        if self.depth == NESTING_MAX {
            return Err(FormatError::corrupt(self.at - 1, "tuples lie too deep within one another"));
        }
        self.depth += 1;
        Ok(Item::Begin)
    }

    fn int(&mut self, code: u8) -> Result<Item<'a>> {
        let (at, negative) = (self.at, code < ZERO);
        let size = usize::from(code.abs_diff(ZERO));
        let value = self.take(size)?.iter().fold(0, |value, &byte| value << 8 | u64::from(byte));
        let magnitude = if negative { !value & (u64::MAX >> (64 - 8 * size)) } else { value };
        // The largest of 8 bytes is written as a long one.
        if magnitude >> (8 * (size - 1)) == 0 || magnitude == u64::MAX {
            return Err(FormatError::corrupt(at, "a number is not in its one form"));
        }
        Ok(Item::Int { negative, magnitude })
    }

    fn long(&mut self, negative: bool) -> Result<Item<'a>> {
        let at = self.at;
        let [size] = self.array()?;
        let bytes = self.take(usize::from(if negative { !size } else { size }))?;
        let magnitude: Cow<'a, [u8]> =
            if negative { bytes.iter().map(|byte| !byte).collect::<Vec<_>>().into() } else { bytes.into() };
        if magnitude[..] == [0xff; 8] {
            return Ok(Item::Int { negative, magnitude: u64::MAX });
        }
        if magnitude.len() <= 8 || magnitude[0] == 0 {
            return Err(FormatError::corrupt(at, "a number is not in its one form"));
        }
        Ok(Item::Long { negative, magnitude })
    }

    fn text(&mut self) -> Result<Cow<'a, str>> {
        let at = self.at;
        let text = match self.until_zero()? {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
        };
        text.ok_or(FormatError::corrupt(at, "text is not UTF-8"))
    }

    /// Reads up to a zero without the escape behind it, and past it.
    fn until_zero(&mut self) -> Result<Cow<'a, [u8]>> {
        let begun = self.at;
        let mut kept: Option<Vec<u8>> = None;
        loop {
            let rest = &self.data[self.at..];
            let Some(len) = rest.iter().position(|&byte| byte == 0) else {
                return Err(FormatError::corrupt(begun, "a text has no end"));
            };
            self.at += len + 1;
            let escaped = self.data.get(self.at) == Some(&ESCAPE);
            match (&mut kept, escaped) {
                (None, false) => return Ok(Cow::Borrowed(&rest[..len])),
                (None, true) => kept = Some(rest[..=len].to_vec()),
                (Some(kept), true) => kept.extend_from_slice(&rest[..=len]),
                (Some(kept), false) => {
                    kept.extend_from_slice(&rest[..len]);
                    return Ok(Cow::Owned(std::mem::take(kept)));
                }
            }
            self.at += 1;
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N).map(|bytes| bytes.try_into().expect("as many bytes as were taken"))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let bytes = self.data[self.at..].get(..len).ok_or(FormatError::corrupt(self.at, "cut short"))?;
        self.at += len;
        Ok(bytes)
    }
}
