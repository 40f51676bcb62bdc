"""What the application is configured with when nobody says otherwise."""

# Relative to the instance folder.
NO_DATABASE = "sqlite:///host_app.sqlite3"
# Enough for `flask squidmesh dev`, the demo and the checks, whose web server and worker are one.
NO_BROKER = "memory://"

DEFAULTS = {
    "DATABASE_URL": NO_DATABASE,
    "BROKER_URL": NO_BROKER,
    "GATEWAY_URL": "http://127.0.0.1:8765/charges",
    # By name, of those in `people.py`. Without them, or without a SECRET_KEY, nobody can log in.
    "PASSWORDS": {},
    "SESSION_COOKIE_SAMESITE": "Lax",
    "SQUIDMESH_DASHBOARD": True,
    "SQUIDMESH_WORKFLOWS": ["minimal_host_app.workflows"],
}
