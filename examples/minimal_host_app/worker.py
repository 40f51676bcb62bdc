"""Where Celery finds the application: `celery -A minimal_host_app.worker worker -Q squidmesh`."""

from minimal_host_app.factory import create_app

flask_app = create_app()
celery_app = flask_app.extensions["celery"]
