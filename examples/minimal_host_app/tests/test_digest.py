"""DailyDigest: by the clock and by hand, one digest per day."""

from __future__ import annotations

from datetime import UTC, date, datetime

from sqlalchemy import event, insert, select

from flask_squidmesh import testing
from minimal_host_app import boundary
from minimal_host_app.extensions import db
from minimal_host_app.models import Digest

# In Paris it is nine: in summer, at the end of a week.
FRIDAY = datetime(2026, 7, 3, 7, tzinfo=UTC)


def days():
    return db.session.scalars(select(Digest.day).order_by(Digest.day)).all()


def history(run):
    return boundary.inspect(run.id, include_history=True)


def test_clock_starts_a_run_each_working_day(app):
    with app.app_context(), testing.freeze(FRIDAY) as clock:
        testing.tick()  # the application gets to know its triggers
        for day in range(7):
            assert testing.tick().started == (0 if day in (0, 1, 2) else 1)
            clock.advance(seconds=24 * 60 * 60)
        testing.run_until_idle()
        assert {run.trigger for run in boundary.list_runs()} == {"every_working_day"}
        assert days() == [date(2026, 7, day) for day in (6, 7, 8, 9)]


def test_run_that_is_late_is_about_its_own_day(app):
    with app.app_context(), testing.freeze(FRIDAY) as clock:
        testing.tick()
        clock.advance(seconds=3 * 24 * 60 * 60)
        assert testing.tick().started == 1
        clock.advance(seconds=20 * 60 * 60)
        testing.run_until_idle()
        assert days() == [date(2026, 7, 6)]


def test_day_that_has_a_digest_keeps_it(app):
    with app.app_context():
        first = boundary.start_digest({"day": "2026-07-06"})
        testing.run_until_idle()
        again = boundary.start_digest({"day": "2026-07-06"})
        testing.run_until_idle()
        written = [boundary.inspect(run.id).context["digest_id"] for run in (first, again)]
        assert written[0] == written[1]
        assert db.session.scalars(select(Digest.text)).all() == ["Invoices on 2026-07-06: 2 open"]


def test_two_at_once_write_one_digest(app):
    """The digest of another run comes in between looking for one and writing one."""
    with app.app_context():

        def write_first(*_):
            with db.engine.begin() as other:
                other.execute(insert(Digest).values(day=date(2026, 7, 6), text="the other one"))

        run = boundary.start_digest({"day": "2026-07-06"})
        event.listen(db.session, "before_flush", write_first, once=True)
        testing.run_until_idle(advance=True)
        run = history(run)
        (written,) = [each for each in run.step_runs if each.step == "write_digest"]
        assert [attempt.status for attempt in written.attempts] == ["failed", "completed"]
        assert run.status == "completed"
        assert db.session.scalars(select(Digest.text)).all() == ["the other one"]
