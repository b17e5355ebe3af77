//! The gRPC front door of a node: KV, Session, Cluster, Admin, health and reflection.
