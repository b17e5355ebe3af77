//! The messages of `kvarts.v1` and the stubs of its services, generated from `proto/`. Fields of bytes are `Bytes`:
//! what is decoded borrows from what was received.

/// `package kvarts.v1`.
#[allow(missing_docs, clippy::all, reason = "generated; the documentation stands in the .proto files")]
pub mod v1 {
    tonic::include_proto!("kvarts.v1");
}

/// The compiled descriptors of all services, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kvarts.v1.bin"));
