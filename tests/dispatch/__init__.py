"""Tests of sending, receiving and the helper threads, without the engine."""
