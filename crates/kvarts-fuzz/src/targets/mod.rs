//! What is fuzzed: one target for each decoder.
mod logs;
mod machine;
mod manifest;
mod tables;
mod tuples;

use crate::Target;

/// Memory of a run that needs little.
const SMALL: usize = 64 << 10;

/// Every target, in order of names.
pub fn all() -> Vec<Target> {
    let small = |name, seeds, run, bytes_per_byte| Target { name, seeds, run, bytes_fixed: SMALL, bytes_per_byte };
    vec![
        small("batch", tables::batch_seeds, tables::batch, 100),
        small("block", tables::block_seeds, tables::block, 40),
        small("command", machine::command_seeds, machine::command, 200),
        small("filter", tables::filter_seeds, tables::filter, 8),
        small("footer", tables::footer_seeds, tables::footer, 8),
        small("header", manifest::header_seeds, manifest::header, 8),
        small("index", tables::index_seeds, tables::index, 80),
        small("log", logs::log_seeds, logs::log, 40),
        Target { bytes_fixed: 4 << 20, ..small("machine", machine::payload_seeds, machine::apply, 2_000) },
        small("manifest", manifest::manifest_seeds, manifest::manifest, 100),
        small("manifest-2", manifest::manifest2_seeds, manifest::manifest2, 100),
        Target { bytes_fixed: 1 << 20, ..small("node-log", logs::node_log_seeds, logs::node_log, 200) },
        small("node-record", logs::node_record_seeds, logs::node_record, 8),
        small("peer", machine::peer_seeds, machine::peer, 200),
        small("properties", tables::properties_seeds, tables::properties, 8),
        // A byte of zstd stands for 32 KiB at most; of LZ4 for 255, which the target checks.
        small("sealed-block", tables::sealed_block_seeds, tables::sealed_block, 33_000),
        small("tuple", tuples::seeds, tuples::run, 80),
    ]
}

/// The target of a name.
pub fn named(name: &str) -> Option<Target> {
    all().into_iter().find(|target| target.name == name)
}
