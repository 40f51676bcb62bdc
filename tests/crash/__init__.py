"""Processes that are killed at every commit, and what the next one makes of it."""
