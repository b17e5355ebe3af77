//! Both doors of a node, behind a real listener: what clients and other nodes see of them.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]
mod cluster;
mod forwarding;
mod health;
mod messages;
mod node;
mod scans;
mod small;
mod snapshots;
mod stream;
mod unary;
