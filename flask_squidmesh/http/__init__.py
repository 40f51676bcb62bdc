"""The HTTP interface: a Flask blueprint that speaks JSON, closed until the host opens it.

Routes translate and present; what they do is done by `flask_squidmesh.operations`.
A request is answered in this order: may the caller do this at all (`access`),
is the body acceptable (`requests`), then the operation. What is refused becomes
a problem document (`problems`). `views` has the table of routes, from which
both the blueprint and the OpenAPI document are made.
"""

from flask_squidmesh.http.blueprint import create_blueprint

__all__ = ["create_blueprint"]
