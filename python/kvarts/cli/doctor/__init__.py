"""What the command `doctor` looks at and how it judges: `gather` reads the machine, `judge` is pure."""
