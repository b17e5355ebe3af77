//! The gRPC front door of a node: KV, Session, Cluster, Admin, health and reflection; the door for other nodes stands
//! beside them. No decisions: a request is checked against limits, handed to the [`crate::intake::Intake`], and answered.
//!
//! `flow` is the hot path: a stream of batches, without a task per operation. `docs/internals/front.md` tells more.
mod accept;
mod cluster;
mod desk;
mod flow;
mod forward;
mod kv;
mod limits;
mod options;
mod pages;
pub(crate) mod refusal;
mod serve;
mod status;
mod unary;

pub use options::FrontOptions;
pub use serve::Front;
pub use status::{ERROR_KEY, error_of, status_of};
