//! How valid bytes are spoilt: bits, bytes, lengths, splices, cuts. Made of proptest's parts, so that what fails is shrunk.
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// Longest input.
pub const INPUT_BYTES_MAX: usize = 16 << 10;

/// One change.
#[derive(Clone, Debug)]
pub enum Mutation {
    /// Turns a bit.
    Bit(Index, u8),
    /// Sets a byte.
    Byte(Index, u8),
    /// Sets 2, 4 or 8 bytes to a number, little or big end first: many of them are a length or a count.
    Number(Index, u8, u64, bool),
    /// Adds to a number of 1, 2, 4 or 8 bytes where it stands.
    Add(Index, u8, i8),
    /// Puts bytes in.
    Insert(Index, Vec<u8>),
    /// Takes bytes out.
    Remove(Index, usize),
    /// Repeats a stretch where it ends.
    Repeat(Index, usize, u8),
    /// Copies a stretch over another place.
    Copy(Index, Index, usize),
    /// Goes on with the end of another input.
    Splice(Index, Index, Index),
    /// Cuts the end off.
    Cut(Index),
    /// Adds zeros, as a file made in advance has.
    Zeros(usize),
}

/// Inputs made from `seeds`, sometimes of nothing but noise.
pub fn inputs(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let mutated = (any::<Index>(), vec(mutation(), 0..8)).prop_map(move |(seed, mutations)| {
        let mut bytes = seed.get(&seeds).clone();
        mutations.iter().for_each(|mutation| apply(&mut bytes, mutation, &seeds));
        bytes
    });
    prop_oneof![20 => mutated, 1 => vec(any::<u8>(), 0..300)]
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let numbers = prop_oneof![
        0u64..4,
        (0u32..64).prop_map(|shift| 1 << shift),
        (0u32..64).prop_map(|shift| (1u64 << shift) - 1),
        Just(u64::MAX),
        any::<u64>(),
    ];
    let bytes = prop_oneof![Just(0), Just(0xff), 0u8..8, any::<u8>()];
    let at = any::<Index>;
    prop_oneof![
        4 => (at(), 0u8..8).prop_map(|(at, bit)| Mutation::Bit(at, bit)),
        4 => (at(), bytes.clone()).prop_map(|(at, byte)| Mutation::Byte(at, byte)),
        4 => (at(), 1u8..4, numbers, any::<bool>()).prop_map(|(at, size, number, big)| Mutation::Number(at, size, number, big)),
        4 => (at(), 0u8..4, -9i8..9).prop_map(|(at, size, by)| Mutation::Add(at, size, by)),
        2 => (at(), vec(bytes, 1..9)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        2 => (at(), 1usize..40).prop_map(|(at, len)| Mutation::Remove(at, len)),
        1 => (at(), 1usize..64, 1u8..20).prop_map(|(at, len, times)| Mutation::Repeat(at, len, times)),
        2 => (at(), at(), 1usize..40).prop_map(|(from, to, len)| Mutation::Copy(from, to, len)),
        1 => (at(), at(), at()).prop_map(|(seed, from, to)| Mutation::Splice(seed, from, to)),
        2 => at().prop_map(Mutation::Cut),
        1 => (1usize..200).prop_map(Mutation::Zeros),
    ]
}

fn apply(bytes: &mut Vec<u8>, mutation: &Mutation, seeds: &[Vec<u8>]) {
    let place = |at: &Index, len: usize| at.index(len + 1);
    match mutation {
        Mutation::Cut(at) => bytes.truncate(place(at, bytes.len())),
        Mutation::Zeros(count) => bytes.resize(bytes.len() + count, 0),
        Mutation::Insert(at, new) => {
            let at = place(at, bytes.len());
            bytes.splice(at..at, new.iter().copied());
        }
        Mutation::Splice(seed, from, to) => {
            let other = seed.get(seeds);
            bytes.truncate(place(to, bytes.len()));
            bytes.extend_from_slice(&other[place(from, other.len())..]);
        }
        Mutation::Remove(at, len) => {
            let at = place(at, bytes.len());
            bytes.drain(at..(at + len).min(bytes.len()));
        }
        Mutation::Repeat(at, len, times) => {
            let at = place(at, bytes.len());
            let stretch = bytes[at..(at + len).min(bytes.len())].repeat(usize::from(*times));
            bytes.splice(at..at, stretch);
        }
        Mutation::Copy(from, to, len) => {
            let (from, to) = (place(from, bytes.len()), place(to, bytes.len()));
            let len = (*len).min(bytes.len() - from.max(to));
            bytes.copy_within(from..from + len, to);
        }
        Mutation::Bit(at, bit) => change(bytes, at, 0, |number| number ^ 1 << bit),
        Mutation::Byte(at, byte) => change(bytes, at, 0, |_| u64::from(*byte)),
        Mutation::Number(at, size, number, big) => {
            let number = if *big { number.swap_bytes() >> (64 - (8 << size)) } else { *number };
            change(bytes, at, *size, |_| number);
        }
        Mutation::Add(at, size, by) => change(bytes, at, *size, |number| number.wrapping_add_signed(i64::from(*by))),
    }
    bytes.truncate(INPUT_BYTES_MAX);
}

/// Changes the number of `1 << size` bytes at a place.
fn change(bytes: &mut [u8], at: &Index, size: u8, how: impl Fn(u64) -> u64) {
    let len = 1 << size;
    if bytes.len() < len {
        return;
    }
    let at = at.index(bytes.len() - len + 1);
    let mut word = [0; 8];
    word[..len].copy_from_slice(&bytes[at..at + len]);
    let changed = how(u64::from_le_bytes(word)).to_le_bytes();
    bytes[at..at + len].copy_from_slice(&changed[..len]);
}
