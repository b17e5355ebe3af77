"""Cases written once against the Store protocol, run against every kind of store."""
