"""Many rows, many rounds, many connections: what grows and what must not."""
