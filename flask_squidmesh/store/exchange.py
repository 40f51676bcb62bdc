"""A statement for libpq itself: its parameters out, its answer back, one row at most.

psycopg's cursor serves every statement and every type, and takes longer over
that than libpq over its part. What each step executes needs neither: it is
prepared once per connection, binds words, numbers and times, and is answered
by a row of them. So it goes through `psycopg.pq`, psycopg's documented wrapper
of libpq, by the calls for asynchronous commands
(https://www.postgresql.org/docs/current/libpq-async.html): while the server
works the thread waits in `poll`, where signals and other greenlets reach it.
The connection remains psycopg's, and is ready for it again afterwards.
"""

from __future__ import annotations

import select
import struct
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn, PGresult

_KEPT_AS: Final = "squidmesh_exchange"
_NUMBERS: Final = count(1)
# Of `libpq-fe.h`; psycopg need not be installed.
_BINARY: Final = 1
_IDLE: Final = 0
_SUCCEEDED: Final = frozenset({1, 2})
"""`PGRES_COMMAND_OK` and `PGRES_TUPLES_OK`."""
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_SHORT: Final = struct.Struct("!h")
_INTEGER: Final = struct.Struct("!i")
_LONG: Final = struct.Struct("!q")


@dataclass(frozen=True, slots=True)
class Text:
    """A statement as the server takes it, with `$1` for the first of its `parameters`."""

    content: bytes
    parameters: tuple[str, ...]
    name: bytes = field(default_factory=lambda: b"squidmesh_%d" % next(_NUMBERS))


def text_of(statement: sa.Select[Any]) -> Text:
    """Return *statement* as text, under a name that no other has in this process."""
    # SQLAlchemy declares no types for the arguments of a dialect.
    dialect = PGDialect_psycopg(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
    compiled = statement.compile(dialect=dialect)
    # A parameter that stands in several places has one number, and is here as often.
    parameters = tuple(dict.fromkeys(compiled.positiontup or ()))
    return Text(str(compiled).encode(), parameters)


class UnsuitedError(Exception):
    """A value is for psycopg's cursor to adapt, or to refuse. Nothing was sent."""


class RefusedError(Exception):
    """The server has refused a statement."""


class Exchange:
    """Executes statements on one connection of psycopg's, and prepares each before its first."""

    __slots__ = ("_pgconn", "_prepared", "_readable")

    def __init__(self, pgconn: PGconn) -> None:
        self._pgconn = pgconn
        self._prepared: set[bytes] = set()
        self._readable = select.poll()
        self._readable.register(pgconn.socket, select.POLLIN)

    def first(self, text: Text, values: Mapping[str, Any]) -> Sequence[Any] | None:
        """Execute a statement as its own transaction, and return its row, None if it has none.

        Times come back in UTC.

        Raises:
            UnsuitedError: The cursor has to be used.
            RefusedError: The statement failed.
            psycopg.OperationalError: The connection failed.
        """
        sent = [_sent(values[name]) for name in text.parameters]
        if text.name not in self._prepared:
            self._pgconn.send_prepare(text.name, text.content)
            self._answer()
            self._prepared.add(text.name)
        self._pgconn.send_query_prepared(text.name, sent, result_format=_BINARY)
        return _row(self._answer())

    def _answer(self) -> PGresult:
        """Return the answer to what was sent. The transaction is over by then."""
        pgconn = self._pgconn
        results: list[PGresult] = []
        if pgconn.flush():
            self._flush()
        while True:
            while pgconn.is_busy():
                self._readable.poll()
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                return _successful(results)
            results.append(result)

    def _flush(self) -> None:
        """Send the rest of something long, and read what the server says meanwhile."""
        ready = select.poll()
        ready.register(self._pgconn.socket, select.POLLIN | select.POLLOUT)
        while self._pgconn.flush():
            ((_, events),) = ready.poll()
            if events & ~select.POLLOUT:
                self._pgconn.consume_input()


def exchange_on(connection: Any, kept: MutableMapping[Any, Any]) -> Exchange | None:
    """Return the exchange on a driver's *connection*, None if that is not the way to use it.

    The connection has to be psycopg's, idle, with text in UTF-8, and allowed to
    have statements prepared. *kept* is what is forgotten when it is replaced.
    """
    pgconn: PGconn | None = getattr(connection, "pgconn", None)
    if (
        pgconn is None
        or connection.prepare_threshold is None
        or pgconn.transaction_status != _IDLE
        or pgconn.parameter_status(b"client_encoding") != b"UTF8"
    ):
        return None
    known: Exchange | None = kept.get(_KEPT_AS)
    # Greenlet libraries that have no `poll` of their own take the system's away.
    if known is None and hasattr(select, "poll"):
        known = kept[_KEPT_AS] = Exchange(pgconn)
    return known


def _successful(results: Sequence[PGresult]) -> PGresult:
    for result in results:
        if result.status not in _SUCCEEDED:
            raise RefusedError((result.error_message or b"").decode(errors="replace").strip())
    return results[-1]


def _sent(value: object) -> bytes | None:
    match value:
        case None:
            return None
        case str():
            if "\0" in value:
                # The text would end there.
                raise UnsuitedError
            return value.encode()
        case int():
            return b"%d" % value
        case datetime():
            # An offset of fractions of a second is no text that the server knows.
            return value.astimezone(UTC).isoformat().encode()
        case timedelta():
            return b"%d microseconds" % (value // timedelta(microseconds=1))
        case list():
            return b"{%s}" % b",".join(_element(each) for each in value)
    raise UnsuitedError


def _element(value: object) -> bytes:
    """Return a word as part of an array (PostgreSQL manual, 8.15.6)."""
    if not isinstance(value, str):
        raise UnsuitedError
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return b'"%s"' % (_sent(escaped) or b"")


def _instant(received: bytes) -> datetime:
    (microseconds,) = _LONG.unpack(received)
    return _EPOCH + timedelta(microseconds=microseconds)


_RECEIVED: Final[Mapping[int, Callable[[bytes], Any]]] = {
    16: lambda received: received != b"\0",
    20: lambda received: _LONG.unpack(received)[0],
    21: lambda received: _SHORT.unpack(received)[0],
    23: lambda received: _INTEGER.unpack(received)[0],
    25: bytes.decode,
    1043: bytes.decode,
    1184: _instant,
}
"""How a value is read, by the number of its type: `boolean`, `bigint`, `smallint`, `integer`,
`text`, `varchar`, `timestamptz` (`pg_type.dat` in PostgreSQL's sources). Our statements return no
others."""


def _row(result: PGresult) -> tuple[Any, ...] | None:
    if not result.ntuples:
        return None
    row = []
    for column in range(result.nfields):
        value = result.get_value(0, column)
        row.append(None if value is None else _RECEIVED[result.ftype(column)](value))
    return tuple(row)
