"""The tidy test: what no linter of the shelf checks about our own rules."""
