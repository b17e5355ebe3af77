//! One append-only log for all groups of a node.
