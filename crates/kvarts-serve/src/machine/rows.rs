//! Keys and values of the rows of a shard.
//!
//! `0x00` and a system key, or `0x01`, the keyspace (u32, big endian) and the user's key. System keys:
//! `applied` (the position), `membership`, `lock/<name>` (token), `session/<id>` and `result/<id>/<sequence>` (big endian, so
//! that they sort by number), and what Python keeps under `config/`.
use super::{Error, Result};
use kvarts_engine::iter::Bounds;

/// First byte of system keys.
const SYSTEM: u8 = 0;
/// First byte of users' keys.
pub(super) const USER: u8 = 1;
/// Bytes in front of a user's key.
pub(super) const USER_PREFIX_BYTES: usize = 5;

/// The position row.
pub(super) const APPLIED: &[u8] = b"\0applied";
/// The row of the membership.
pub(super) const MEMBERSHIP: &[u8] = b"\0membership";
/// Begin of the keys of sessions.
pub(super) const SESSIONS: &[u8] = b"\0session/";
const RESULTS: &[u8] = b"\0result/";
const LOCKS: &[u8] = b"\0lock/";

/// How far a machine has come: the last entry applied, and the latest stamp of the entries so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Index of the entry.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// Microseconds since 1970, by the clocks of the leaders that stamped entries.
    pub stamp_us: u64,
}

impl Position {
    pub(super) fn encode(&self) -> [u8; 24] {
        words([self.index, self.term, self.stamp_us])
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let [index, term, stamp_us] = read_words(bytes, "position")?;
        Ok(Self { index, term, stamp_us })
    }
}

/// What is stored of a session but its results.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SessionRow {
    /// The revision that used it last.
    pub(super) used: u64,
    /// Results up to this sequence are forgotten.
    pub(super) answered: u64,
    /// The highest sequence seen. Results stored lie in (answered, newest], at most a window of them.
    pub(super) newest: u64,
    /// The highest sequence of each row of results, rising. All results of an entry share one.
    pub(super) blocks: Vec<u64>,
}

impl SessionRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        let words = [self.used, self.answered, self.newest].into_iter().chain(self.blocks.iter().copied());
        words.flat_map(u64::to_le_bytes).collect()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut words = words.iter().copied().map(u64::from_le_bytes);
        let row = (|| {
            let (used, answered, newest) = (words.next()?, words.next()?, words.next()?);
            Some(Self { used, answered, newest, blocks: words.collect() })
        })();
        row.filter(|_| rest.is_empty())
            .ok_or_else(|| Error::NotAShard(format!("a row of a session has {} bytes", bytes.len())))
    }
}

fn words(words: [u64; 3]) -> [u8; 24] {
    let mut bytes = [0; 24];
    for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

fn read_words(bytes: &[u8], what: &str) -> Result<[u64; 3]> {
    let bytes: &[u8; 24] =
        bytes.try_into().map_err(|_| Error::NotAShard(format!("a row of a {what} has {} bytes", bytes.len())))?;
    Ok(std::array::from_fn(|at| u64_le(&bytes[8 * at..])))
}

fn u64_le(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(*bytes.first_chunk().expect("the caller has checked the length"))
}

/// Reads a lock's token.
pub(super) fn token(bytes: &[u8]) -> Result<u64> {
    let word = bytes.try_into().map_err(|_| Error::NotAShard(format!("a row of a lock has {} bytes", bytes.len())))?;
    Ok(u64::from_le_bytes(word))
}

/// The row key of a system key.
pub(super) fn system_key(key: &[u8]) -> Vec<u8> {
    joined(&[&[SYSTEM], key])
}

/// The row key of a lock.
pub(super) fn lock_key(lock: &[u8]) -> Vec<u8> {
    joined(&[LOCKS, lock])
}

/// The row key of a session.
pub(super) fn session_key(id: u64) -> Vec<u8> {
    joined(&[SESSIONS, &id.to_be_bytes()])
}

/// The session that a row key of a session names.
pub(super) fn session_of(key: &[u8]) -> Option<u64> {
    let id = key.strip_prefix(SESSIONS)?.try_into().ok()?;
    Some(u64::from_be_bytes(id))
}

/// The row key of a result.
pub(super) fn result_key(id: u64, sequence: u64) -> Vec<u8> {
    joined(&[RESULTS, &id.to_be_bytes(), b"/", &sequence.to_be_bytes()])
}

/// Appends the row key of a user's key.
pub(super) fn push_user_key(out: &mut Vec<u8>, keyspace: u32, key: &[u8]) {
    out.push(USER);
    out.extend_from_slice(&keyspace.to_be_bytes());
    out.extend_from_slice(key);
}

/// The row key of a user's key.
pub(super) fn user_key(keyspace: u32, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(USER_PREFIX_BYTES + key.len());
    push_user_key(&mut out, keyspace, key);
    out
}

/// Bounds of users' keys as bounds of rows; an empty bound is none. `true`: the bound is included.
pub(super) fn user_bounds(keyspace: u32, start: (&[u8], bool), stop: (&[u8], bool)) -> Bounds {
    let start =
        if start.0.is_empty() { (user_key(keyspace, b""), true) } else { (user_key(keyspace, start.0), start.1) };
    let stop = if !stop.0.is_empty() {
        (user_key(keyspace, stop.0), stop.1)
    } else if let Some(next) = keyspace.checked_add(1) {
        (user_key(next, b""), false)
    } else {
        (vec![USER + 1], false)
    };
    Bounds { start: Some(start), stop: Some(stop) }
}

/// Bounds of all row keys that begin with `prefix`, which must not be all of 0xff.
pub(super) fn prefix_bounds(prefix: &[u8]) -> Bounds {
    let mut stop = prefix.to_vec();
    while stop.pop_if(|last| *last == u8::MAX).is_some() {}
    *stop.last_mut().expect("a row key begins with 0 or 1") += 1;
    Bounds { start: Some((prefix.to_vec(), true)), stop: Some((stop, false)) }
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_say_again_what_they_were_told() {
        let position = Position { index: 1, term: 2, stamp_us: u64::MAX };
        assert_eq!(Position::decode(&position.encode()).unwrap(), position);
        let session = SessionRow { used: 7, answered: 8, newest: 12, blocks: vec![10, 12] };
        assert_eq!(SessionRow::decode(&session.encode()).unwrap(), session);
        assert_eq!(session_of(&session_key(7)), Some(7));
        assert!(Position::decode(&[0; 23]).is_err());
        assert!(SessionRow::decode(&[0; 16]).is_err());
        assert!(SessionRow::decode(&[0; 25]).is_err());
    }

    #[test]
    fn bounds_hold_one_keyspace_and_no_other() {
        let within = |bounds: &Bounds, key: &[u8]| {
            let (start, stop) = (bounds.start.as_ref().unwrap(), bounds.stop.as_ref().unwrap());
            key >= start.0.as_slice() && key < stop.0.as_slice()
        };
        for keyspace in [0, 7, u32::MAX] {
            let all = user_bounds(keyspace, (b"", true), (b"", false));
            assert!(within(&all, &user_key(keyspace, b"\0")));
            assert!(within(&all, &user_key(keyspace, &[255; 40])));
            assert!(!within(&all, &user_key(keyspace.wrapping_add(1), b"\0")));
            assert!(!within(&all, &system_key(b"applied")));
        }
    }

    #[test]
    fn a_prefix_that_ends_high_has_an_end() {
        let bounds = prefix_bounds(b"\0a\xff\xff");
        assert_eq!(bounds.stop, Some((b"\0b".to_vec(), false)));
    }
}
