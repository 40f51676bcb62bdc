"""Log records made while a step runs say which step of which run made them."""

from __future__ import annotations

import copy
import logging
import pickle
from logging.handlers import QueueHandler
from queue import SimpleQueue

import pytest
from marshmallow import fields

from flask_squidmesh import Retry, Workflow, complete, log, manual, step
from flask_squidmesh.testing import deliver, run_until_idle
from tests.contract.host import make_world, single

FIELDS = ("run_id", "workflow", "step", "attempt")
logger = logging.getLogger("some.library")


class Kept(logging.Handler):
    """Keeps records, and their text as a formatter that names the fields gives it."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.lines: list[str] = []
        self.setFormatter(
            logging.Formatter("%(run_id)s %(workflow)s %(step)s %(attempt)s %(message)s")
        )

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.lines.append(self.format(record))


@pytest.fixture
def kept():
    """What the library has logged."""
    handler = Kept()
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.setLevel(before)
    logger.removeHandler(handler)


def told(record):
    """Return what a record says about the step."""
    return {name: getattr(record, name) for name in FIELDS}


def test_records_of_any_logger_carry_run_workflow_step_and_attempt(world, clock, kept):
    def work(context):
        logger.info("working")
        if context.attempt == 1:
            raise OSError

    run = world.run(single(work, retry=Retry(2)))
    assert [told(record) for record in kept.records] == [
        {"run_id": run.id, "workflow": "single", "step": "work", "attempt": number}
        for number in (1, 2)
    ]
    assert kept.lines == [f"{run.id} single work {number} working" for number in (1, 2)]


def test_record_of_a_log_step_carries_them_too(world, caplog):
    class Announcing(Workflow):
        go = manual()
        announce = log("invoice loaded", level="warning")
        transitions = [announce >> complete]

    run = world.run(Announcing)
    (record,) = [each for each in caplog.records if each.getMessage() == "invoice loaded"]
    assert record.levelname == "WARNING"
    assert told(record) == {
        "run_id": run.id,
        "workflow": "announcing",
        "step": "announce",
        "attempt": 1,
    }


def test_record_of_the_failure_carries_them_too(world, caplog):
    def fail():
        raise OSError("down")

    run = world.run(single(fail))
    (record,) = [each for each in caplog.records if each.exc_info]
    assert told(record)["run_id"] == run.id


def test_fields_are_among_the_others_for_formatters_that_look_at_them_all(world, kept):
    run = world.run(single(lambda: logger.info("working")))
    (record,) = kept.records
    everything = vars(record)
    assert {name: everything[name] for name in FIELDS} == {
        "run_id": run.id,
        "workflow": "single",
        "step": "work",
        "attempt": 1,
    }


def test_extra_of_the_same_name_is_that_of_the_caller(world, kept):
    run = world.run(single(lambda: logger.info("x", extra={"step": "mine", "workflow": 7})))
    (record,) = kept.records
    assert told(record) == {"run_id": run.id, "workflow": 7, "step": "mine", "attempt": 1}
    assert kept.lines == [f"{run.id} 7 mine 1 x"]


def test_records_outside_of_steps_are_left_as_they_are(world):
    class Bare(logging.Handler):
        def emit(self, record):
            records.append(record)

    records: list[logging.LogRecord] = []
    handler = Bare()
    logger.addHandler(handler)
    try:
        world.run(single(lambda: None))
        logger.warning("outside")
    finally:
        logger.removeHandler(handler)
    (record,) = records
    assert [name for name in FIELDS if hasattr(record, name)] == []
    assert type(record) is logging.LogRecord


def test_step_within_a_step_tells_of_itself_and_then_of_the_outer_one_again(world, kept):
    def inner():
        logger.info("inner")

    class Inner(Workflow):
        go = manual()
        deep = step(inner)
        transitions = [deep >> complete]

    inner_id = world.start(Inner)

    def outer():
        deliver(inner_id, "deep")
        logger.info("outer")

    run_id = world.start(single(outer))
    run_until_idle()
    assert [(record.getMessage(), told(record)["run_id"]) for record in kept.records][-2:] == [
        ("inner", inner_id),
        ("outer", run_id),
    ]


def test_several_applications_in_one_process_do_not_mix(world, url, kept):
    with make_world(url) as other:
        run = other.run(single(lambda: logger.info("there")))
    assert [told(record)["run_id"] for record in kept.records] == [run.id]
    assert kept.lines == [f"{run.id} single work 1 there"]


def test_record_class_of_the_host_stays_one(world, kept):
    class HostRecord(logging.LogRecord):
        host = "me"

    usual = logging.getLogRecordFactory()
    logging.setLogRecordFactory(HostRecord)
    try:
        with make_world(str(world.app.config["SQLALCHEMY_DATABASE_URI"])) as other:
            run = other.run(single(lambda: logger.info("there")))
    finally:
        logging.setLogRecordFactory(usual)
    (record,) = kept.records
    assert isinstance(record, HostRecord)
    assert (record.host, told(record)["run_id"]) == ("me", run.id)


def test_records_survive_copies_queues_and_pickling(world, kept):
    queue: SimpleQueue[logging.LogRecord] = SimpleQueue()
    handler = QueueHandler(queue)
    logger.addHandler(handler)
    try:
        run = world.run(single(lambda: logger.info("to the %s", "queue")))
    finally:
        logger.removeHandler(handler)
    queued = queue.get_nowait()
    for record in (queued, copy.copy(kept.records[0]), pickle.loads(pickle.dumps(queued))):  # noqa: S301  # our own
        assert told(record)["run_id"] == run.id
        assert record.getMessage() == "to the queue"


@pytest.mark.parametrize("fails", [False, True])
def test_payloads_inputs_and_outputs_are_never_logged(world, caplog, fails):
    caplog.set_level(logging.DEBUG)
    secret = "4242-4242-4242-4242"

    def work(card, again):
        if fails:
            raise OSError("down")
        return {"kept": [card, again]}

    class Secretive(Workflow):
        go = manual(card=fields.String(), again=fields.String())
        work_on = step(work)
        transitions = [work_on >> complete]

    run = world.run(Secretive, {"card": secret, "again": secret})
    assert run.status == ("failed" if fails else "completed")
    ours = [each for each in caplog.records if each.name.startswith("flask_squidmesh")]
    assert bool(ours) == fails
    shown = [logging.Formatter().format(each) + repr(vars(each)) for each in ours]
    assert [text for text in shown if secret in text] == []
