//! The connections of a remote store: one stream of batches per node, calls from many threads and tasks.
