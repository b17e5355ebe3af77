//! Streams between nodes: batches of messages, and snapshots.
