"""Several processes and several connections at once, on a database with row locks."""
