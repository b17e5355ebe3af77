"""All tests of kvarts. One folder per kind: unit golden property conformance fault simulation style."""
