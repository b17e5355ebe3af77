"""Floor 5: a store in a cluster, over the network. Rust has the connections; here are the verbs, sync and async.

Rooms: `target` (URIs and options), `coding` (codecs), `ranges` (which keys a scan covers), `space` (a keyspace),
`pages` (rows of a scan), `verbs` (every verb, once, as a coroutine), `batch`, `store` (the sync face, which runs the
coroutines to their end with a client that blocks), `astore` (the async face).
"""
