"""Programs that measure and torture; they print what they found, and assert nothing by time."""
