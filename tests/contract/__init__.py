"""The contract of the specification, through the public API only, on every database."""
