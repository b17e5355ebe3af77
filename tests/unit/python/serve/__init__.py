"""Tests of the native muscle under the real replicator."""
