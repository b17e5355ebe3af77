//! Which keys a scan or a delete covers.
use crate::codec::Codec;
use crate::fault::{Fault, Outcome};
use kvarts_engine::iter::Bounds;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PySlice;

/// A key with whether it is in the range.
type Bound1 = Option<(Vec<u8>, bool)>;
type Given<'a, 'py> = Option<(&'a Bound<'py, PyAny>, bool)>;

/// A range of encoded keys, relative to a view.
#[derive(Default)]
pub struct Range {
    start: Bound1,
    stop: Bound1,
    prefix: Vec<u8>,
    /// Last key first.
    pub reverse: bool,
    /// At most so many rows.
    pub limit: Option<usize>,
}

impl Range {
    /// All keys, last first.
    pub fn whole_reversed() -> Self {
        Self { reverse: true, ..Self::default() }
    }

    /// Encodes the arguments of `scan`.
    pub fn from_keys(
        codec: &Codec,
        start: Given<'_, '_>,
        stop: Given<'_, '_>,
        prefix: Option<&Bound<'_, PyAny>>,
        reverse: bool,
        limit: Option<usize>,
    ) -> Outcome<Self> {
        let encode = |given: Given<'_, '_>| -> Outcome<Bound1> {
            given.map(|(key, included)| Ok((codec.encode(key)?.to_vec(), included))).transpose()
        };
        if prefix.is_some() && !codec.has_prefixes() {
            return Err(Fault::invalid("prefix= needs Bytes, Str or Tuple keys", "give start and stop"));
        }
        Ok(Self {
            start: encode(start)?,
            stop: encode(stop)?,
            prefix: prefix
                .map(|prefix| Ok::<_, Fault>(codec.encode(prefix)?.to_vec()))
                .transpose()?
                .unwrap_or_default(),
            reverse,
            limit,
        })
    }

    /// Encodes `a:b` or `a:b:-1`.
    pub fn from_slice(codec: &Codec, slice: &Bound<'_, PySlice>) -> Outcome<Self> {
        let py = slice.py();
        let step = slice.getattr(intern!(py, "step"))?;
        let step = if step.is_none() { Some(1) } else { step.extract::<i64>().ok() };
        let reverse = match step {
            Some(1) => false,
            Some(-1) => true,
            _ => {
                return Err(Fault::invalid("a slice of a store has step 1 or -1", "db[a:b], or db[a:b:-1] in reverse"));
            }
        };
        let (start, stop) = (slice.getattr(intern!(py, "start"))?, slice.getattr(intern!(py, "stop"))?);
        let start = if start.is_none() { None } else { Some((&start, true)) };
        let stop = if stop.is_none() { None } else { Some((&stop, false)) };
        Self::from_keys(codec, start, stop, None, reverse, None)
    }

    /// Returns the engine's bounds and direction for a view whose keys begin with `view`, or `None` where no key fits.
    pub fn bounds(&self, codec: &Codec, view: &[u8]) -> Option<(Bounds, bool)> {
        let absolute = |bound: &Bound1| bound.as_ref().map(|(key, included)| ([view, key].concat(), *included));
        let whole = [view, &self.prefix].concat();
        let (first, end) = if whole.is_empty() {
            (None, None)
        } else {
            (Some((whole.clone(), true)), codec.after(whole).map(|end| (end, false)))
        };
        let start = narrower(absolute(&self.start), first, |a, b| a > b);
        let stop = narrower(absolute(&self.stop), end, |a, b| a < b);
        let empty = match (&start, &stop) {
            (Some((start, from)), Some((stop, to))) => start > stop || (start == stop && !(*from && *to)),
            _ => false,
        };
        if empty || self.limit == Some(0) { None } else { Some((Bounds { start, stop }, self.reverse)) }
    }
}

/// The bound that leaves fewer keys; of equal keys the excluded one.
fn narrower(a: Bound1, b: Bound1, tighter: impl Fn(&[u8], &[u8]) -> bool) -> Bound1 {
    match (a, b) {
        (Some(a), Some(b)) if a.0 == b.0 => Some((a.0, a.1 && b.1)),
        (Some(a), Some(b)) => Some(if tighter(&a.0, &b.0) { a } else { b }),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: Option<&str>, stop: Option<&str>, prefix: &str) -> Range {
        Range {
            start: start.map(|key| (key.into(), true)),
            stop: stop.map(|key| (key.into(), false)),
            prefix: prefix.into(),
            ..Range::default()
        }
    }

    fn shown(range: &Range, view: &str) -> Option<(Bound1, Bound1)> {
        range.bounds(&Codec::Str, view.as_bytes()).map(|(bounds, _)| (bounds.start, bounds.stop))
    }

    #[test]
    fn bounds_are_the_narrower_of_range_prefix_and_view() {
        let at = |key: &str, included| Some((key.as_bytes().to_vec(), included));
        for (given, view, expected) in [
            (range(None, None, ""), "", Some((None, None))),
            (range(Some("b"), Some("d"), ""), "", Some((at("b", true), at("d", false)))),
            (range(Some("b"), Some("d"), "c"), "", Some((at("c", true), at("d", false)))),
            (range(Some("cc"), None, "c"), "", Some((at("cc", true), at("d", false)))),
            (range(Some("a"), None, ""), "x/", Some((at("x/a", true), at("x0", false)))),
            (range(None, Some("z"), "q"), "x/", Some((at("x/q", true), at("x/r", false)))),
            (range(Some("d"), Some("b"), ""), "", None),
            (range(Some("b"), Some("b"), ""), "", None),
            (range(Some("z"), None, "c"), "", None),
        ] {
            assert_eq!(shown(&given, view), expected, "{view}");
        }
    }

    #[test]
    fn a_prefix_of_high_bytes_has_no_end() {
        assert_eq!(Codec::Bytes.after(vec![0xff, 0xff]), None);
        assert_eq!(Codec::Bytes.after(vec![0x61, 0xff]), Some(vec![0x62]));
    }

    #[test]
    fn a_prefix_of_tuples_ends_before_longer_texts() {
        assert_eq!(Codec::Tuple.after(b"\x02a\0".to_vec()), Some(b"\x02a\0\xff".to_vec()));
    }
}
