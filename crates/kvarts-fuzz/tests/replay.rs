//! Every kept input is run again, and each target shortly on new ones: `KVARTS_FUZZ_SEED=n` for others than CI's.
use kvarts_fuzz::targets::all;
use kvarts_fuzz::{campaign, corpus};

/// Inputs per target, about.
const RUNS: u64 = 2_000;

/// One test for all: memory is counted for the whole process.
#[test]
fn kept_inputs_and_new_ones_end_in_a_verdict() {
    let seed = std::env::var("KVARTS_FUZZ_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    for target in all() {
        for (path, input) in corpus::read(&target).unwrap() {
            println!("{} --input {}", target.name, path.display());
            target.check(&input);
        }
        let runs = if target.name.starts_with("machine") { RUNS / 4 } else { RUNS };
        let found = campaign::run(&target, &[], seed, |_| {}, |done| done < runs);
        let replay = format!("KVARTS_FUZZ_SEED={seed} cargo test -p kvarts-fuzz, or nox -s fuzz -- {}", target.name);
        assert!(found.failure.is_none(), "{}: {:?}; replay: {replay}", target.name, found.failure);
        assert!(found.verdicts.len() > 1, "{} refuses nothing, or all", target.name);
    }
}
