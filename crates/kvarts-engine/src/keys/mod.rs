//! Encryption at rest: master keys, the keys of files, and how files are sealed with them.
//!
//! A *master key* is the user's. It encrypts nothing but keys of files, and its [`KeyId`] is derived from it, so that a wrong
//! one is told from damage. A *file key* is random, made with its file, kept in the file's header wrapped by a master key, and
//! used for that file alone. The nonce of what it seals is the offset in the file, and an attempt where a log writes an
//! offset again; docs/adr/0011 goes through every case.
//!
//! No type here shows a key: `Debug` prints ids. Copies of ours are zeroed when they go.
mod cipher;
mod identity;
mod master;
mod ring;
#[cfg(test)]
mod tests;
mod wrap;

pub use cipher::Witness;
pub use identity::{Identity, NewFile};
pub use master::{KEY_BYTES, KeyId, MasterKey};
pub use ring::Keys;
pub use wrap::open;
