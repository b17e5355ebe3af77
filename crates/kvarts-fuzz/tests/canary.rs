//! The alarm rings: targets with a planted bug are caught, and their inputs shrunk.
use kvarts_fuzz::campaign::run;
use kvarts_fuzz::{Target, Verdict};

const PLANTED: Target = Target {
    name: "canary",
    seeds: || vec![b"\x03abcdef".to_vec()],
    run: believes,
    bytes_fixed: 4096,
    bytes_per_byte: 8,
};

/// Believes the length in the first byte.
fn believes(input: &[u8]) -> Verdict {
    let Some((&len, rest)) = input.split_first() else { return "empty".to_owned() };
    format!("ok {}", rest[..usize::from(len)].len())
}

/// Makes as much room as the first byte says.
fn makes_room(input: &[u8]) -> Verdict {
    let len = usize::from(input.first().copied().unwrap_or(0)) << 12;
    let room: Vec<u8> = Vec::with_capacity(len);
    format!("ok {}", room.capacity().min(1))
}

/// One test for both: memory is counted for the whole process.
#[test]
fn a_target_with_a_planted_bug_is_caught_and_its_input_shrunk() {
    let found = run(&PLANTED, &[], 7, |_| {}, |done| done < 5_000);
    let (input, how) = found.failure.expect("a length that is believed");
    assert!(how.contains("out of range"), "{how}");
    assert!(input.len() < 8, "shrunk to {input:?}");

    let hungry = Target { run: makes_room, ..PLANTED };
    let found = run(&hungry, &[], 7, |_| {}, |done| done < 5_000);
    let (input, how) = found.failure.expect("memory out of proportion");
    assert!(how.contains("bytes of memory"), "{how}");
    assert!(makes_room(&input).starts_with("ok"));
}
