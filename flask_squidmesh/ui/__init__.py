"""The dashboard: HTML pages for those who decide and those on call, within the host application.

Like the HTTP interface it only translates and presents: whom to let in is asked
of the same callback (`access`), what is done is done by
`flask_squidmesh.operations`. A page is a view model, a plain value that
`pages` builds, and a template that loops over it. Nothing changes by a GET;
every POST carries a token (`forgery`). `routes` has the table of routes.
"""

from flask_squidmesh.ui.blueprint import create_dashboard

__all__ = ["create_dashboard"]
