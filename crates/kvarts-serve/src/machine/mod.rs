//! What a committed command does to the rows of a shard: deterministic, equal to `kvarts.statemachine`.
