"""What a workflow is: declarations turned into frozen, JSON-safe definitions.

Pure: no Flask, SQLAlchemy, Celery or Click below this package.
"""
