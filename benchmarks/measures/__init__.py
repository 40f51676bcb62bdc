"""One module per measure; each has a `MEASURE`, or several, for the registry."""
