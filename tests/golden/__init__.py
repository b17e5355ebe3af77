"""Conversations as text: commands, a line of dashes, what came of them. Prose stands between the steps."""
