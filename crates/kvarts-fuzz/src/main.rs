//! `kvarts-fuzz TARGET|all --seconds N --seed S`, `kvarts-fuzz TARGET --input FILE`, `kvarts-fuzz --list`.
//!
//! Each target runs in a process of its own, which notes every input before it is run: so an input that aborts, overflows
//! the stack or hangs is found by the parent, and kept in the corpus like one that panics.
#![allow(clippy::disallowed_methods, reason = "a tool of developers, on their own files and clock")]
use kvarts_fuzz::campaign::{self, Found};
use kvarts_fuzz::targets::{all, named};
use kvarts_fuzz::{Target, corpus};
use std::collections::HashMap;
use std::error::Error;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A child that takes so much longer than it was told hangs.
const PATIENCE: Duration = Duration::from_secs(20);
const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;
const USAGE: &str = "kvarts-fuzz TARGET|all [--seconds N] [--seed S] [--keep], TARGET --input FILE, or --list";

fn main() -> ExitCode {
    match start() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(WRONG_USAGE)
        }
    }
}

struct Wanted {
    target: String,
    options: HashMap<String, String>,
}

impl Wanted {
    fn from_arguments() -> Outcome<Self> {
        let mut arguments = std::env::args().skip(1);
        let target = arguments.next().ok_or(USAGE)?;
        let mut options = HashMap::new();
        while let Some(name) = arguments.next() {
            let value = if name == "--keep" { String::new() } else { arguments.next().ok_or(USAGE)? };
            options.insert(name, value);
        }
        Ok(Self { target, options })
    }

    fn number(&self, name: &str, otherwise: u64) -> Outcome<u64> {
        self.options.get(name).map_or(Ok(otherwise), |given| Ok(given.parse()?))
    }
}

fn start() -> Outcome<bool> {
    let wanted = Wanted::from_arguments()?;
    if wanted.target == "--list" {
        all().iter().for_each(|target| println!("{}", target.name));
        return Ok(true);
    }
    let targets = if wanted.target == "all" { all() } else { vec![named(&wanted.target).ok_or(USAGE)?] };
    if let Some(path) = wanted.options.get("--input") {
        println!("{}", targets[0].check(&std::fs::read(path)?));
        return Ok(true);
    }
    let seconds = wanted.number("--seconds", 10)?;
    let seed = wanted.number("--seed", u64::from(std::process::id()))?;
    if let Some(notes) = wanted.options.get("--child") {
        return child(&targets[0], seconds, seed, Path::new(notes), wanted.options.contains_key("--keep"));
    }
    let mut good = true;
    for target in &targets {
        good &= parent(target, seconds, seed, wanted.options.contains_key("--keep"))?;
    }
    Ok(good)
}

/// Runs a target in a child. Returns whether it held.
fn parent(target: &Target, seconds: u64, seed: u64, keep: bool) -> Outcome<bool> {
    let notes = std::env::temp_dir().join(format!("kvarts-fuzz-{}-{}", std::process::id(), target.name));
    let mut command = Command::new(std::env::current_exe()?);
    command.args([target.name, "--seconds", &seconds.to_string(), "--seed", &seed.to_string(), "--child"]).arg(&notes);
    if keep {
        command.arg("--keep");
    }
    let mut child = command.spawn()?;
    let until = Instant::now() + Duration::from_secs(seconds) + PATIENCE;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break Some(status),
            None if Instant::now() > until => {
                child.kill()?;
                child.wait()?;
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let good = status.is_some_and(|status| status.success());
    if !good && status.and_then(|status| status.code()) != Some(i32::from(FAILED)) {
        let how = status.map_or_else(|| "it does not end".to_owned(), |status| status.to_string());
        tell_failure(target, &read_note(&notes)?, &how, seed)?;
    }
    std::fs::remove_file(&notes).ok();
    Ok(good)
}

fn child(target: &Target, seconds: u64, seed: u64, notes: &Path, keep: bool) -> Outcome<bool> {
    std::panic::set_hook(Box::new(|_| {}));
    let file = std::fs::File::create(notes)?;
    let note = |input: &[u8]| {
        let bytes = [&(input.len() as u64).to_le_bytes()[..], input].concat();
        file.write_all_at(&bytes, 0).expect("a note in the temporary directory");
    };
    let corpus: Vec<Vec<u8>> = corpus::read(target)?.into_iter().map(|(_, input)| input).collect();
    let until = Instant::now() + Duration::from_secs(seconds);
    let found = campaign::run(target, &corpus, seed, note, |_| Instant::now() < until);
    println!("{:<14} seed={seed} runs={} verdicts={}", target.name, found.runs, found.verdicts.len());
    if keep {
        keep_new(target, &corpus, &found)?;
    }
    match &found.failure {
        None => Ok(true),
        Some((input, how)) => tell_failure(target, input, how, seed).map(|_| false),
    }
}

/// Keeps one input of each verdict that the corpus does not yet lead to.
fn keep_new(target: &Target, corpus: &[Vec<u8>], found: &Found) -> Outcome<()> {
    for (verdict, input) in &found.verdicts {
        if !corpus.contains(input) {
            println!("  {}  {verdict}", corpus::keep(target, input)?.display());
        }
    }
    Ok(())
}

fn tell_failure(target: &Target, input: &[u8], how: &str, seed: u64) -> Outcome<PathBuf> {
    let path = corpus::keep(target, input)?;
    println!("{} FAILED seed={seed}: {how}", target.name);
    println!("  kept in {}", path.display());
    println!("  replay: nox -s fuzz -- {} --input {}", target.name, path.display());
    Ok(path)
}

fn read_note(notes: &Path) -> Outcome<Vec<u8>> {
    let bytes = std::fs::read(notes)?;
    let (len, rest) = bytes.split_at_checked(8).ok_or("the child ended before its first input")?;
    let len = u64::from_le_bytes(len.try_into()?) as usize;
    Ok(rest.get(..len).ok_or("the note of the child is cut short")?.to_vec())
}
