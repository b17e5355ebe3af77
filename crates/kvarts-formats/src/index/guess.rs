//! Where a number lies in a sorted array, guessed by a straight line: exact to within an error that was measured.
use std::ops::Range;

/// A line through the first and the last number, and how far it is off.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Guess {
    first: u64,
    /// Places per unit of the numbers, times 2^64; 0 guesses the first place.
    slope: u64,
    /// Most places between a guess and the first number not below it.
    error: usize,
}

impl Guess {
    /// Measures the line of `numbers`, which are sorted. Where they are far from one, no window excludes anything.
    pub(super) fn of(numbers: &[u64]) -> Self {
        let (Some(&first), Some(&last)) = (numbers.first(), numbers.last()) else { return Self::default() };
        let places = numbers.len() as u128 - 1;
        let slope =
            (places << 64).checked_div(u128::from(last - first)).map_or(0, |slope| slope.min(u128::from(u64::MAX)));
        let mut line = Self { first, slope: slope as u64, error: 0 };
        // Between two numbers the guess only grows, so it is furthest off at a number: for it, or right after it.
        line.error = numbers
            .iter()
            .enumerate()
            .map(|(at, &number)| {
                let guess = line.place(number);
                guess.abs_diff(at).max(guess.abs_diff(at + 1))
            })
            .max()
            .unwrap_or_default();
        line
    }

    /// Returns the places among which the first number not below `number` is, of `count`; or the end where none is.
    #[inline]
    pub(super) fn window(&self, number: u64, count: usize) -> Range<usize> {
        let guess = self.place(number).min(count);
        guess.saturating_sub(self.error)..guess.saturating_add(self.error + 1).min(count)
    }

    #[inline]
    fn place(&self, number: u64) -> usize {
        ((u128::from(number.saturating_sub(self.first)) * u128::from(self.slope)) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(numbers: &[u64], wanted: u64) {
        let near = Guess::of(numbers).window(wanted, numbers.len());
        let found = near.start + numbers[near].partition_point(|&number| number < wanted);
        assert_eq!(found, numbers.partition_point(|&number| number < wanted), "{wanted} in {numbers:?}");
    }

    #[test]
    fn edges_are_found() {
        for numbers in
            [&[][..], &[0], &[u64::MAX], &[0, u64::MAX], &[7; 9], &[5, 5, 5, 9], &[0, 1, 2, 3, u64::MAX], &[1 << 63; 2]]
        {
            for &number in numbers.iter().chain(&[0, 1, 5, 6, 1 << 63, u64::MAX]) {
                [number.saturating_sub(1), number, number.saturating_add(1)]
                    .into_iter()
                    .for_each(|wanted| check(numbers, wanted));
            }
        }
    }

    #[test]
    fn uniform_numbers_leave_a_narrow_window() {
        let mut numbers: Vec<u64> = (0..10_000u64).map(|i| crate::hash::key_hash(&i.to_le_bytes())).collect();
        numbers.sort_unstable();
        let near = Guess::of(&numbers).window(1 << 63, numbers.len());
        assert!(near.len() < 500, "{near:?}");
    }

    proptest! {
        #[test]
        fn it_finds_what_a_binary_search_finds(
            mut numbers in prop_oneof![
                prop::collection::vec(any::<u64>(), 0..200),
                prop::collection::vec(0u64..50, 0..200),
                prop::collection::vec((0u32..64).prop_map(|bit| 1u64 << bit), 0..200),
                (any::<u64>(), 1u64..1 << 40, 1usize..300).prop_map(|(start, step, count)| {
                    (0..count as u64).map(|i| start.saturating_add(i * step)).collect()
                }),
            ],
            others in prop::collection::vec(any::<u64>(), 20),
        ) {
            numbers.sort_unstable();
            for &number in &numbers {
                [number.saturating_sub(1), number, number.saturating_add(1)].into_iter().for_each(|wanted| check(&numbers, wanted));
            }
            others.into_iter().for_each(|wanted| check(&numbers, wanted));
        }
    }
}
