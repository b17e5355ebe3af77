"""Fuzzers of what reads bytes in Python; those of the Rust decoders are in crates/kvarts-fuzz."""
