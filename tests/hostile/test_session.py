"""Whatever a step does to `db.session` ends in a recorded outcome, with all it wrote or nothing."""

from __future__ import annotations

import gc
from contextlib import suppress

import pytest
import sqlalchemy as sa

from flask_squidmesh import Retry, Workflow, complete, fixed, manual, step
from tests.contract.host import Note, attempts, db, notes, single, step_state, write

# A connection that nobody could close any more: psycopg is right, and the step is to blame.
pytestmark = pytest.mark.filterwarnings("ignore:.*deleted while still open:ResourceWarning")


def is_postgresql() -> bool:
    return db.engine.dialect.name == "postgresql"


def rows_left_behind() -> int:
    """Return how many transactions of others are open on the server."""
    if not is_postgresql():
        return 0
    db.session.remove()
    with db.engine.connect() as connection:
        return (
            connection.exec_driver_sql(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%%'"
            ).scalar_one()
            or 0
        )


def error_of(run):
    last = step_state(run, "work").last_error
    assert last is not None
    return last


def begin() -> None:
    write("uncommitted")
    db.session.flush()


def fail_a_statement() -> None:
    begin()
    with suppress(sa.exc.DBAPIError):
        db.session.execute(sa.text("SELECT * FROM there_is_no_such_table"))


def fail_a_flush() -> None:
    begin()
    write("uncommitted")
    with suppress(sa.exc.IntegrityError):
        db.session.flush()


def commit() -> None:
    begin()
    db.session.commit()


def roll_back() -> None:
    begin()
    db.session.rollback()


def close() -> None:
    begin()
    db.session.close()


def remove() -> None:
    begin()
    db.session.remove()


def remove_and_begin_again() -> None:
    begin()
    db.session.remove()
    write("second")


def invalidate() -> None:
    begin()
    db.session().invalidate()


def close_the_connection() -> None:
    begin()
    db.session.connection().close()


def close_the_driver_connection() -> None:
    begin()
    driver = db.session.connection().connection.dbapi_connection
    assert driver is not None
    driver.close()


def invalidate_the_connection() -> None:
    begin()
    db.session.connection().invalidate()


def roll_back_behind_its_back() -> None:
    begin()
    driver = db.session.connection().connection.dbapi_connection
    assert driver is not None
    driver.rollback()


def roll_back_by_statement() -> None:
    begin()
    db.session.connection().exec_driver_sql("ROLLBACK")


def commit_behind_its_back() -> None:
    begin()
    driver = db.session.connection().connection.dbapi_connection
    assert driver is not None
    driver.commit()


def leave_a_savepoint() -> None:
    begin()
    db.session.begin_nested()
    write("inner")


def leave_many_savepoints() -> None:
    begin()
    for _ in range(20):
        db.session.begin_nested()


def commit_each_statement() -> None:
    db.session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
    begin()


def leave_a_broken_object() -> None:
    db.session.add(Note(text=None))


def leave_a_foreign_object() -> None:
    begin()
    db.session.add(Note(id="no number", text={}))


def leave_two_phases() -> None:
    begin()
    db.session.expire_all()
    db.session.autoflush = False
    write("late")


def make_it_inactive() -> None:
    begin()
    begun = db.session().get_transaction()
    assert begun is not None
    begun.rollback()


def listen_and_raise() -> None:
    begin()

    def refuse(_session: object) -> None:
        raise OSError("no commit today")

    sa.event.listen(db.session(), "before_commit", refuse)


def raise_after_commit() -> None:
    begin()

    def complain(_session: object) -> None:
        raise OSError("too late")

    sa.event.listen(db.session(), "after_commit", complain)


def dispose_of_the_engine() -> None:
    begin()
    db.engine.dispose()


#: What a step does, how it ends, and which of its writes are there afterwards.
POISONS = {
    fail_a_statement: {"sqlite": ("completed", ["uncommitted"]), "postgresql": ("failed", [])},
    fail_a_flush: ("failed", []),
    commit: ("completed", ["uncommitted"]),
    roll_back: ("completed", []),
    close: ("completed", []),
    remove: ("completed", []),
    remove_and_begin_again: ("completed", ["second"]),
    invalidate: ("completed", []),
    close_the_connection: ("failed", []),
    # Nobody can tell it from a connection that was lost: it is executed again, and again.
    close_the_driver_connection: ("abandoned", []),
    invalidate_the_connection: ("failed", []),
    roll_back_behind_its_back: ("completed", []),
    roll_back_by_statement: ("completed", []),
    commit_behind_its_back: ("completed", ["uncommitted"]),
    leave_a_savepoint: ("completed", ["inner", "uncommitted"]),
    leave_many_savepoints: ("completed", ["uncommitted"]),
    commit_each_statement: ("completed", ["uncommitted"]),
    leave_a_broken_object: ("failed", []),
    leave_a_foreign_object: ("failed", []),
    leave_two_phases: ("completed", ["late", "uncommitted"]),
    make_it_inactive: ("completed", []),
    listen_and_raise: ("failed", []),
    raise_after_commit: ("completed", ["uncommitted"]),
    dispose_of_the_engine: ("completed", ["uncommitted"]),
}


def expected(poison):
    found = POISONS[poison]
    return found[db.engine.dialect.name] if isinstance(found, dict) else found


@pytest.fixture(params=POISONS, ids=lambda poison: poison.__name__)
def poison(request):
    return request.param


@pytest.fixture(autouse=True)
def tidy():
    """What a step has lost is found here, not in some later test."""
    yield
    gc.collect()


def test_step_that_returns_ends_as_told_and_the_next_goes_on(world, poison):
    """All of its writes are there, or none; the engine and the next step are not affected."""

    class Poisoned(Workflow):
        go = manual()
        work = step(poison)
        after = step(lambda: write("after"))
        transitions = [work >> after >> complete]

    run = world.run(Poisoned)
    status, written = expected(poison)
    assert attempts(run, "work")[-1][1] == status, step_state(run, "work").last_error
    assert run.status == ("completed" if status == "completed" else "failed")
    assert notes() == sorted([*written, *(["after"] if status == "completed" else [])])
    assert rows_left_behind() == 0
    assert world.run(single(lambda: None)).status == "completed"


#: What is there although the step fails: what it has committed itself.
COMMITTED = {commit, commit_behind_its_back, commit_each_statement}


def test_step_that_raises_has_failed_with_its_own_error(world, poison):
    def work():
        poison()
        raise LookupError("of the step")

    run = world.run(single(work))
    last = error_of(run)
    assert (run.status, attempts(run, "work")) == ("failed", [(1, "failed")])
    assert (last["type"], last["message"]) == ("builtins.LookupError", "of the step")
    assert notes() == (["uncommitted"] if poison in COMMITTED else [])
    assert rows_left_behind() == 0


def test_step_that_is_retried_begins_with_a_clean_session(world, poison):
    def work(context):
        if context.attempt == 1:
            poison()
            raise LookupError("of the step")
        write("second attempt")

    run = world.run(single(work, retry=Retry(2, fixed(0.001))), advance=True)
    assert (run.status, attempts(run, "work")) == ("completed", [(1, "failed"), (2, "completed")])
    assert "second attempt" in notes()


def test_step_that_opted_out_may_do_the_same(world, poison):
    run = world.run(single(poison, transaction=False))
    assert run.status == "completed"
    assert notes() == (["uncommitted"] if poison in COMMITTED else [])
    assert rows_left_behind() == 0


@pytest.mark.parametrize("raises", [True, False])
def test_connection_that_the_server_has_ended_is_recorded(world, raises):
    """Nobody has noticed yet when the step ends: its transaction is gone."""
    if not is_postgresql():
        pytest.skip("SQLite has no connections that somebody else could end")

    def work(context):
        if context.attempt > 1:
            return {"attempt": context.attempt}
        begin()
        pid = db.session.connection().exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with db.engine.connect() as other:
            other.exec_driver_sql(f"SELECT pg_terminate_backend({pid}, 5000)")
        if raises:
            raise LookupError("of the step")
        return {"attempt": context.attempt}

    run = world.run(single(work))
    if raises:
        assert attempts(run, "work") == [(1, "failed")]
        assert error_of(run)["message"] == "of the step"
    else:
        # Through no fault of the step its writes are gone: it is executed again.
        assert attempts(run, "work") == [(1, "abandoned"), (2, "completed")]
        assert run.context == {"attempt": 2}
    assert notes() == []


def test_settlement_is_one_transaction_also_where_the_step_wanted_none(world):
    """Were it executed on a connection that commits each statement, a crash could cut it in two."""
    seen = set()

    class Fan(Workflow):
        go = manual()
        work = step(commit_each_statement)
        left = step(lambda: None, after=[work])
        right = step(lambda: None, after=[work])

    def look(connection, _cursor, statement, *_rest):
        if "squidmesh_" in statement and statement.startswith(("INSERT", "UPDATE", "DELETE")):
            seen.add(connection.get_execution_options().get("isolation_level"))

    run_id = world.start(Fan)
    sa.event.listen(db.engine, "before_cursor_execute", look)
    try:
        assert world.go(run_id).status == "completed"
    finally:
        sa.event.remove(db.engine, "before_cursor_execute", look)
    assert seen
    assert "AUTOCOMMIT" not in seen
    assert notes() == ["uncommitted"]
