"""Owns the transactions: what happens to a run, one guarded unit at a time.

`attempt` is the heart: claim, perform, settle. Nothing here imports Flask,
Celery or Click, and nothing here sends: every operation returns the `News` to
be told after its commit.
"""
