"""One connection to a broker, for one thread: sends rings, asks for the queue's depth.

The options make a broker that does not answer fail within about a second where
the transport knows such options; `transport` bounds the rest. Nothing here is
safe to share between threads or to use after a fork.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any, Final

from celery.exceptions import AlwaysEagerIgnored
from kombu.transport import virtual

from flask_squidmesh.engine.news import Ring

RUN_STEP: Final = "squidmesh.run_step"

_ANSWER_WITHIN: Final = 1.0
_NO_PAUSES: Final[Mapping[str, object]] = {
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
}
# Only transports known to understand or ignore the options get them: others,
# such as `sqla+`, hand everything to a constructor that refuses what it does not know.
_SHORT_FUSE: Final[Mapping[str, Mapping[str, object]]] = {
    "redis": {
        **_NO_PAUSES,
        "socket_timeout": _ANSWER_WITHIN,
        "socket_connect_timeout": _ANSWER_WITHIN,
        "retry_on_timeout": False,
    },
    "amqp": {
        **_NO_PAUSES,
        "read_timeout": _ANSWER_WITHIN,
        "write_timeout": _ANSWER_WITHIN,
    },
}


def know_queue(celery: Any, queue: str) -> None:
    """Make *queue* known to a Celery app that was told not to create missing queues."""
    queues = celery.amqp.queues
    if queue not in queues and not queues.create_missing:
        queues.add(queue)


class Line:
    """A connection that is opened when first needed and again after a failure."""

    def __init__(self, celery: Any, queue: str) -> None:
        self._celery = celery
        self._queue = queue
        self._connection: Any = None
        self._producer: Any = None
        self._probe: Any = None

    def send(self, rings: Sequence[Ring]) -> None:
        """Publish a message for each; raises what the transport raises.

        Several go out together where the transport can do that. Of those that
        failed nobody knows which have arrived; sent again, some come twice.
        """
        in_use = self._connection is not None
        try:
            self._publish(rings)
        except Exception:
            self.close()
            # A connection that was idle may have been cut: only a fresh one
            # tells whether the broker is there.
            if not in_use:
                raise
            try:
                self._publish(rings)
            except Exception:
                self.close()
                raise

    def depth(self) -> int:
        """Return how many messages wait in the queue; 0 when there is no such queue."""
        self._open()
        try:
            if self._probe is None:
                self._probe = self._open_probe()
            declared = self._probe.queue_declare(queue=self._queue, passive=True)
            return int(declared.message_count)
        except self._connection.channel_errors as error:
            # The refusal has closed the channel on AMQP. Elsewhere it is as good as before, and
            # a new one would be another connection.
            if not isinstance(self._probe, virtual.Channel):
                self._probe = None
            if str(getattr(error, "reply_code", "")) == "404":
                return 0
            self.close()
            raise
        except Exception:
            self.close()
            raise

    def _open_probe(self) -> Any:
        """Return a channel to ask through: where refusals close it, one of its own."""
        usual = self._connection.default_channel
        # On virtual transports a channel is a connection, and nothing closes it.
        return usual if isinstance(usual, virtual.Channel) else self._connection.channel()

    def listeners(self) -> dict[str, tuple[str, ...]]:
        """Return the workers that answer within a second, with the queues they consume."""
        self._open()
        asked = self._celery.control.inspect(timeout=_ANSWER_WITHIN, connection=self._connection)
        answers = asked.active_queues() or {}
        return {
            worker: tuple(str(queue["name"]) for queue in queues)
            for worker, queues in answers.items()
        }

    def close(self) -> None:
        """Forget the connection, telling the broker if it listens."""
        connection, self._connection = self._connection, None
        self._producer = self._probe = None
        if connection is not None:
            # Given up because it failed, or at the end: nobody can mend what fails here.
            with suppress(Exception):
                connection.release()

    def _publish(self, rings: Sequence[Ring]) -> None:
        self._open()
        with ExitStack() as around:
            if self._celery.conf.task_always_eager:
                # It says that send_task does not look at task_always_eager: we rely on that.
                around.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore", AlwaysEagerIgnored)
            # Since kombu 5.7, and of use on Redis: one round trip for all instead of one for each.
            if len(rings) > 1 and hasattr(self._producer, "batch"):
                around.enter_context(self._producer.batch(max_size=len(rings)))
            for number, ring in enumerate(rings):
                self._send_task(ring, declares=number == 0)

    def _send_task(self, ring: Ring, *, declares: bool) -> None:
        # The queue is looked after once for all that go out together: a fifth of the work of each.
        options: dict[str, Any] = {} if declares else {"declare": ()}
        args = [ring.run_id, ring.step]
        self._celery.send_task(
            RUN_STEP,
            args=args,
            # As Celery would have them, which looks into arguments with any depth in mind.
            argsrepr=repr(args),
            kwargsrepr="{}",
            queue=self._queue,
            serializer="json",
            ignore_result=True,
            retry=False,
            producer=self._producer,
            **options,
        )

    def _open(self) -> None:
        if self._connection is not None:
            return
        know_queue(self._celery, self._queue)
        self._connection = self._connect()
        try:
            self._producer = self._celery.amqp.Producer(self._connection.default_channel)
        except Exception:
            self.close()
            raise

    def _connect(self) -> Any:
        usual = self._celery.connection_for_write()
        options = _SHORT_FUSE.get(usual.get_transport_cls().driver_type)
        if options is None:
            return usual
        # One try for each of the URLs that broker_url may list.
        tries = {"max_retries": max(0, len(usual.alt) - 1)}
        return self._celery.connection_for_write(
            transport_options={**options, **tries}, connect_timeout=_ANSWER_WITHIN
        )
