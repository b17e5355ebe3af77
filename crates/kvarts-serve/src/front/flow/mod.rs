//! A stream of batches both ways: the hot path of native clients.
//!
//! gRPC polls for answers when the connection can take some. Then requests are taken in, as far as they may be under way
//! at a time, and all answers that are ready go out together. No task and no lock is held for an operation; a client that
//! does not read its answers is not read from either.
mod answers;
mod stream;

pub use stream::Flow;
