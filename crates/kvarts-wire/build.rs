//! Compiles proto/kvarts/v1 without protoc: protox parses, prost and tonic generate.
use prost::Message;
use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

#[expect(clippy::disallowed_methods, reason = "a build script writes where cargo tells it to")]
fn main() -> Result<(), Box<dyn Error>> {
    let protos = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let names = ["data", "kv", "cluster", "peer"];
    let files: Vec<_> = names.iter().map(|name| protos.join(format!("kvarts/v1/{name}.proto"))).collect();
    println!("cargo:rerun-if-changed={}", protos.display());
    let set = protox::compile(&files, [&protos])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("kvarts.v1.bin"), set.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(set)?;
    Ok(())
}
