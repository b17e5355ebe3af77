//! From items to bytes.
use super::{
    BYTES, DOUBLE, ESCAPE, FALSE, INT_BYTES_MAX, Item, NEGATIVE_LONG, NESTED, NESTING_MAX, NULL, POSITIVE_LONG, SINGLE,
    TEXT, TRUE, UUID, VERSIONSTAMP, VERSIONSTAMP_BYTES, ZERO, is_complete, turned,
};
use std::fmt;

/// Why an item has no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// More tuples within one another than `NESTING_MAX`.
    Deep,
    /// A whole number of more than `INT_BYTES_MAX` bytes.
    Large,
    /// A versionstamp whose transaction has no number yet.
    Incomplete,
}

impl Refusal {
    /// What to do instead.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Deep => "store it flat, or as a value of kvarts.Json",
            Self::Large => "store it as bytes, or as text",
            Self::Incomplete => "a complete one has 10 bytes of its transaction, not all 0xff",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deep => write!(f, "tuples lie within one another more than {NESTING_MAX} deep"),
            Self::Large => write!(f, "a whole number has more than {INT_BYTES_MAX} bytes"),
            Self::Incomplete => f.write_str("an incomplete versionstamp"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Writes a tuple, item by item.
#[derive(Default)]
pub struct Writer {
    out: Vec<u8>,
    depth: usize,
}

impl Writer {
    /// Returns a writer with room for a short tuple.
    pub fn new() -> Self {
        Self { out: Vec::with_capacity(64), depth: 0 }
    }

    /// Returns the bytes. Each nested tuple that was begun must have been ended.
    pub fn finish(self) -> Vec<u8> {
        debug_assert_eq!(self.depth, 0, "a nested tuple was not ended");
        self.out
    }

    /// Writes any item. Errors: `Refusal`.
    pub fn item(&mut self, item: &Item<'_>) -> Result<(), Refusal> {
        match item {
            Item::Null => self.null(),
            Item::Bytes(bytes) => self.bytes(bytes),
            Item::Text(text) => self.text(text),
            Item::Begin => return self.begin(),
            Item::End => self.end(),
            Item::Int { negative, magnitude } => self.int(*negative, *magnitude),
            Item::Long { negative, magnitude } => return self.long(*negative, magnitude),
            Item::Single(bits) => self.single(*bits),
            Item::Double(bits) => self.double(*bits),
            Item::Bool(flag) => self.bool(*flag),
            Item::Uuid(bytes) => self.uuid(bytes),
            Item::Versionstamp(bytes) => return self.versionstamp(bytes),
        }
        Ok(())
    }

    /// Writes nothing, as an item.
    pub fn null(&mut self) {
        self.out.push(NULL);
        if self.depth > 0 {
            self.out.push(ESCAPE);
        }
    }

    /// Writes bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.ended_by_zero(BYTES, bytes);
    }

    /// Writes text.
    pub fn text(&mut self, text: &str) {
        self.ended_by_zero(TEXT, text.as_bytes());
    }

    /// Begins a nested tuple. Errors: `Deep`.
    pub fn begin(&mut self) -> Result<(), Refusal> {
        if self.depth == NESTING_MAX {
            return Err(Refusal::Deep);
        }
        self.depth += 1;
        self.out.push(NESTED);
        Ok(())
    }

    /// Ends it.
    pub fn end(&mut self) {
        self.depth -= 1;
        self.out.push(NULL);
    }

    /// Writes a whole number; a magnitude of 0 has no sign.
    pub fn int(&mut self, negative: bool, magnitude: u64) {
        let size = 8 - magnitude.leading_zeros() as usize / 8;
        let bytes = if negative { !magnitude } else { magnitude }.to_be_bytes();
        if magnitude == u64::MAX {
            // Eight bytes would do, and other bindings write them so; Python's takes the form of longer ones.
            let (code, size) = if negative { (NEGATIVE_LONG, !8) } else { (POSITIVE_LONG, 8) };
            self.out.extend_from_slice(&[code, size]);
        } else {
            self.out.push(if negative { ZERO - size as u8 } else { ZERO + size as u8 });
        }
        self.out.extend_from_slice(&bytes[8 - size..]);
    }

    /// Writes a whole number whose magnitude is given highest byte first. Errors: `Large`.
    pub fn long(&mut self, negative: bool, magnitude: &[u8]) -> Result<(), Refusal> {
        let magnitude = &magnitude[magnitude.iter().take_while(|&&byte| byte == 0).count()..];
        if magnitude.len() <= 8 {
            let value = magnitude.iter().fold(0, |value, &byte| value << 8 | u64::from(byte));
            self.int(negative, value);
            return Ok(());
        }
        let size = u8::try_from(magnitude.len()).map_err(|_| Refusal::Large)?;
        if negative {
            self.out.extend_from_slice(&[NEGATIVE_LONG, !size]);
            self.out.extend(magnitude.iter().map(|byte| !byte));
        } else {
            self.out.extend_from_slice(&[POSITIVE_LONG, size]);
            self.out.extend_from_slice(magnitude);
        }
        Ok(())
    }

    /// Writes a number in single precision, given by its bits.
    pub fn single(&mut self, bits: u32) {
        self.out.push(SINGLE);
        self.out.extend_from_slice(&turned(bits.to_be_bytes()));
    }

    /// Writes a number in double precision, given by its bits.
    pub fn double(&mut self, bits: u64) {
        self.out.push(DOUBLE);
        self.out.extend_from_slice(&turned(bits.to_be_bytes()));
    }

    /// Writes true or false.
    pub fn bool(&mut self, flag: bool) {
        self.out.push(if flag { TRUE } else { FALSE });
    }

    /// Writes a UUID.
    pub fn uuid(&mut self, bytes: &[u8; 16]) {
        self.out.push(UUID);
        self.out.extend_from_slice(bytes);
    }

    /// Writes a versionstamp. Errors: `Incomplete`.
    pub fn versionstamp(&mut self, bytes: &[u8; VERSIONSTAMP_BYTES]) -> Result<(), Refusal> {
        if !is_complete(bytes) {
            return Err(Refusal::Incomplete);
        }
        self.out.push(VERSIONSTAMP);
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn ended_by_zero(&mut self, code: u8, bytes: &[u8]) {
        self.out.push(code);
        for (i, part) in bytes.split(|&byte| byte == 0).enumerate() {
            if i > 0 {
                self.out.extend_from_slice(&[0, ESCAPE]);
            }
            self.out.extend_from_slice(part);
        }
        self.out.push(0);
    }
}
