"""The library's Alembic revisions, as templates that an application copies.

`NNNN_slug.py.template` is revision `sqmNNNN`. It is text, never imported:
`flask squidmesh install` fills in `${down_revision}`, the host's head, and
writes the file into the host's own history. From then on it is the host's, so
it imports nothing of this package: history must not change its meaning with
the release that happens to be installed. Types, names and lists of statuses
are therefore frozen copies, and a test compares what they build with the
models, on every database.

Rules for the next one: a published template is never edited; `squidmesh_migration`
is its number and tells the installer how far a history has come; constraint
names go through `op.f()`, out of reach of the host's naming convention;
`engine_name` is what a host with several databases passes, and only its default
one (`""`) is ours; changes on SQLite use `op.batch_alter_table`. Nothing is
dropped or renamed in the release that stops using it.
"""
