//! Which shard owns a key: the token spaces of `kvarts.shardmap`, for those that look up every key.
//!
//! Lookups only: what may become of a map is decided in Python. `proto/token-vectors.txt` holds both to the same tokens.
mod first_item;
mod map;
mod partition;

pub use map::{Line, Map, Shard};
pub use partition::{HASH_VERSION, Partition, Space, Token};
