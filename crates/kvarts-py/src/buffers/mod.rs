//! The one room of the binding with memory that others read: columns handed out by the C interfaces of Arrow.
//!
//! Invariants, upheld by [`export`]: a struct handed out is whole until its `release` is called, once, by whoever holds it, from
//! any thread and without the interpreter; after that its `release` is null and nothing of it is touched. What a struct points to
//! belongs to the box in its `private_data`. A struct may be moved by its holder, so nothing points to the struct itself.
//! Source: the Arrow C data and C stream interfaces.
mod abi;
mod export;
mod stream;

pub use abi::ArrowArrayStream;
pub use stream::{Layout, Producer, open};
