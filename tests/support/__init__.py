"""Real parts for tests: a PostgreSQL, a Valkey, worker processes."""
