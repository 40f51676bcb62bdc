"""The HTTP blueprint, through Flask's test client, on every database."""
