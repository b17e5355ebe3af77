//! Runs a target on mutated inputs until told to stop; what fails is shrunk, what says something new is mutated further.
use crate::mutate::inputs;
use crate::{Target, Verdict};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Inputs that are mutated before those that said something new join them.
const ROUND: usize = 500;
/// Steps of shrinking, at most.
const SHRINKS_MAX: usize = 2_000;

/// What a campaign found.
#[derive(Debug, Default)]
pub struct Found {
    /// Inputs run.
    pub runs: u64,
    /// The first input of each verdict.
    pub verdicts: BTreeMap<Verdict, Vec<u8>>,
    /// An input that fails, shrunk, and how.
    pub failure: Option<(Vec<u8>, String)>,
}

/// Runs `target` on the corpus and on mutations of it, as `seed` has it, while `go_on` says so (asked after each round with
/// the number of runs). `before` sees every input first: a run may end the process.
pub fn run(
    target: &Target,
    corpus: &[Vec<u8>],
    seed: u64,
    mut before: impl FnMut(&[u8]),
    mut go_on: impl FnMut(u64) -> bool,
) -> Found {
    let mut found = Found::default();
    let mut pool: Vec<Vec<u8>> = (target.seeds)().into_iter().chain(corpus.iter().cloned()).collect();
    for input in pool.clone() {
        if !try_one(target, &input, &mut found, &mut before) {
            return found;
        }
    }
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    loop {
        let strategy = inputs(pool.clone());
        for _ in 0..ROUND {
            let mut tree = strategy.new_tree(&mut runner).expect("no input is filtered out");
            let input = tree.current();
            let known = found.verdicts.len();
            if !try_one(target, &input, &mut found, &mut before) {
                shrink(target, &mut tree, &mut found);
                return found;
            }
            if found.verdicts.len() > known {
                pool.push(input);
            }
        }
        if !go_on(found.runs) {
            return found;
        }
    }
}

fn try_one(target: &Target, input: &[u8], found: &mut Found, before: &mut impl FnMut(&[u8])) -> bool {
    before(input);
    found.runs += 1;
    match verdict_of(target, input) {
        Ok(verdict) => {
            found.verdicts.entry(verdict).or_insert_with(|| input.to_vec());
            true
        }
        Err(how) => {
            found.failure = Some((input.to_vec(), how));
            false
        }
    }
}

/// Returns the verdict, or what the panic said.
fn verdict_of(target: &Target, input: &[u8]) -> Result<Verdict, String> {
    catch_unwind(AssertUnwindSafe(|| target.check(input))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned()
    })
}

fn shrink(target: &Target, tree: &mut impl ValueTree<Value = Vec<u8>>, found: &mut Found) {
    for _ in 0..SHRINKS_MAX {
        if !tree.simplify() {
            return;
        }
        let input = tree.current();
        match verdict_of(target, &input) {
            Err(how) => found.failure = Some((input, how)),
            Ok(_) if tree.complicate() => {}
            Ok(_) => return,
        }
    }
}
