//! Fuzzers of every decoder: mutated valid bytes go in, and no decoder may panic, hang or allocate out of proportion.
//!
//! `targets` says what is fuzzed, `mutate` how bytes are spoilt, `seal` makes checksums true again, `corpus` keeps inputs,
//! `campaign` runs, shrinks and remembers. The page: docs/internals/fuzzing.md.
pub mod campaign;
pub mod corpus;
pub mod mutate;
mod seal;
pub mod targets;

use peak_alloc::PeakAlloc;

/// Counts bytes, so that a decoder that believes a length is caught.
#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What came of an input: "ok" with what matters of it, or the sentence of the refusal. Inputs of a new sentence are kept.
pub type Verdict = String;

/// A decoder that is fuzzed.
pub struct Target {
    /// Its name, and that of its folder in `corpus`.
    pub name: &'static str,
    /// Valid inputs that mutations begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Decodes, uses what was decoded, and panics where something does not hold.
    pub run: fn(&[u8]) -> Verdict,
    /// Bytes that a run may allocate whatever the input.
    pub bytes_fixed: usize,
    /// Bytes that it may allocate for each byte of the input.
    pub bytes_per_byte: usize,
}

impl Target {
    /// Runs an input and checks how much it allocated. One at a time: memory is counted for the whole process.
    pub fn check(&self, input: &[u8]) -> Verdict {
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let verdict = (self.run)(input);
        let used = MEMORY.peak_usage().saturating_sub(before);
        let allowed = self.bytes_fixed + self.bytes_per_byte * input.len();
        assert!(used <= allowed, "{} bytes of input took {used} bytes of memory, over {allowed}", input.len());
        verdict
    }
}
