"""What stands in the body of a workflow class: steps, triggers, transitions.

Declarations only record what was written. Whether it makes sense is decided
when the class is complete (`check`), so that all mistakes are reported at once;
nothing here raises for a bad value. References between steps are the objects
themselves: a step has no name until a class binds it to one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, overload

from marshmallow import Schema
from marshmallow.fields import Field

from flask_squidmesh.definition.spec import BackoffSpec, OutcomeName, RetrySpec, StepKind

CatchUp: TypeAlias = Literal["latest", "all", "none"]
LogLevel: TypeAlias = Literal["debug", "info", "warning", "error", "critical"]
SchemaLike: TypeAlias = Schema | type[Schema]
InputMapping: TypeAlias = Sequence[str] | Mapping[str, str]
After: TypeAlias = "Sequence[Step | str]"

Retry = RetrySpec
"""`Retry(max_attempts, backoff=None)`: how often a step is tried, the first try included."""


class Link(NamedTuple):
    """One transition as written; any of the three may be something that makes no sense."""

    source: object
    on: object
    target: object


@dataclass(frozen=True, eq=False, slots=True)
class Chain:
    """Transitions written as one expression, such as `a >> b >> complete`.

    Python evaluates from left to right, so the chain remembers its two ends:
    `>>` continues at the tail, and another chain is joined at its head.
    """

    links: tuple[Link, ...]
    head: object
    tail: object

    def __rshift__(self, other: Target) -> Chain:
        return _join(self, "ok", other)

    if not TYPE_CHECKING:  # accepted at run time only, to be reported with all other mistakes

        def __rrshift__(self, other):
            return _join(other, "ok", self)


class Complete:
    """The end of a run, as the target of a transition."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "complete"

    if not TYPE_CHECKING:  # accepted at run time only, to be reported with all other mistakes

        def __rshift__(self, other):
            return _join(self, "ok", other)

        def __rrshift__(self, other):
            return _join(other, "ok", self)


complete: Final = Complete()
"""Ends the run: `last_step >> complete`."""


class Declaration:
    """Base of what a class body may bind a name to: steps and triggers."""

    __slots__ = ()


@dataclass(frozen=True, eq=False, slots=True)
class Step(Declaration):
    """A declared step, compared by identity; made by `step`, `wait`, `log`, `pause`, `approval`.

    `a >> b` is the transition taken when step *a* succeeds.
    """

    kind: StepKind
    function: Any = None
    input: Any = None
    output: Any = None
    retry: Any = None
    after: Any = None
    input_schema: Any = None
    output_schema: Any = None
    transaction: Any = True
    at_most_once: Any = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def __rshift__(self, other: Target) -> Chain:
        return _join(self, "ok", other)

    if not TYPE_CHECKING:  # accepted at run time only, to be reported with all other mistakes

        def __rrshift__(self, other):
            return _join(other, "ok", self)

    def on_error(self, target: Target) -> Chain:
        """Return the transition taken when this step has finally failed.

        The result goes on from the target: `a.on_error(b) >> complete`.
        """
        return _join(self, "error", target)


Target: TypeAlias = Step | Chain | Complete


def _join(source: object, on: object, target: object) -> Chain:
    before = source.links if isinstance(source, Chain) else ()
    after = target.links if isinstance(target, Chain) else ()
    tail = source.tail if isinstance(source, Chain) else source
    head = target.head if isinstance(target, Chain) else target
    return Chain(
        links=(*before, Link(tail, on, head), *after),
        head=source.head if isinstance(source, Chain) else source,
        tail=target.tail if isinstance(target, Chain) else target,
    )


def transition(source: Step, *, on: OutcomeName, to: Target) -> Chain:
    """Return the transition from *source* to *to*, the explicit form of `>>` and `on_error`.

    Args:
        source: A step of the class.
        on: The outcome on which it is taken: `"ok"`, or `"error"` when no attempt is left.
        to: A step of the class, or `complete`.
    """
    return _join(source, on, to)


@overload
def step(
    function: Callable[..., Any],
    *,
    input: InputMapping | None = None,
    output: str | None = None,
    retry: RetrySpec | None = None,
    after: After | None = None,
    input_schema: SchemaLike | None = None,
    output_schema: SchemaLike | None = None,
    transaction: bool = True,
    at_most_once: bool = False,
) -> Step: ...
@overload
def step(
    function: None = None,
    *,
    input: InputMapping | None = None,
    output: str | None = None,
    retry: RetrySpec | None = None,
    after: After | None = None,
    input_schema: SchemaLike | None = None,
    output_schema: SchemaLike | None = None,
    transaction: bool = True,
    at_most_once: bool = False,
) -> Callable[[Callable[..., Any]], Step]: ...
def step(
    function: Callable[..., Any] | None = None,
    *,
    input: InputMapping | None = None,
    output: str | None = None,
    retry: RetrySpec | None = None,
    after: After | None = None,
    input_schema: SchemaLike | None = None,
    output_schema: SchemaLike | None = None,
    transaction: bool = True,
    at_most_once: bool = False,
) -> Step | Callable[[Callable[..., Any]], Step]:
    """Declare a step that runs *function*; also a decorator, with or without options.

    The function is called in the application's context. Its parameters are filled
    by name from the payload overlaid with the outputs so far; one called `context`
    gets a `StepContext`, and `**inputs` takes everything. It returns a mapping, or
    None, which is merged into the run's context, or with *output* any JSON value.

    Example::

        charge = step(charge, output="charge", retry=Retry(5, exponential(1, 30)))

        @step(input={"address": "customer.address"})
        def print_label(address): ...

    Args:
        function: An ordinary function, no coroutine and no generator.
        input: The keys the function sees, or new names mapped to dotted paths.
        output: The key its result is stored under; without it a mapping is merged.
        retry: How often to try, and how long to wait in between. Without it a
            failure is final, and only a lost worker has the step run again.
        after: The steps, or their names, this one waits for (dependency workflows).
        input_schema: A marshmallow schema that loads what the function sees.
        output_schema: A marshmallow schema that loads what it returns.
        transaction: Commit the function's `db.session` together with the step.
        at_most_once: Fail rather than run again when the worker was lost.
    """

    def declare(function: Callable[..., Any]) -> Step:
        return Step(
            "step",
            function=function,
            input=input,
            output=output,
            retry=retry,
            after=after,
            input_schema=input_schema,
            output_schema=output_schema,
            transaction=transaction,
            at_most_once=at_most_once,
        )

    return declare if function is None else declare(function)


def wait(
    duration: timedelta | None = None,
    *,
    seconds: float | None = None,
    after: After | None = None,
) -> Step:
    """Declare a durable timer: `wait(seconds=5)` or `wait(timedelta(days=3))`.

    It holds no worker and no message: it is a time in a row of the database.

    Args:
        duration: How long, as a timedelta; more than zero.
        seconds: The same as a number; give one of the two.
        after: The steps, or their names, it waits for (dependency workflows).
    """
    return Step("wait", after=after, options={"duration": duration, "seconds": seconds})


def log(message: str, level: LogLevel = "info", *, after: After | None = None) -> Step:
    """Declare a step that writes *message* to the log `flask_squidmesh.steps`.

    Args:
        message: The text, as it is: nothing of the run is put into it.
        level: `"debug"`, `"info"`, `"warning"`, `"error"` or `"critical"`.
        after: The steps, or their names, it waits for (dependency workflows).
    """
    return Step("log", after=after, options={"message": message, "level": level})


def pause(*, after: After | None = None) -> Step:
    """Declare a stop that lasts until somebody calls `unblock_run`.

    Not for dependency workflows; `after` is taken only to say so.
    """
    return Step("pause", after=after)


def approval(output: str | None = None, *, after: After | None = None) -> Step:
    """Declare a stop for a decision: approved goes on `ok`, rejected on `error`.

    It needs both routes. Not for dependency workflows; `after` is taken only to
    say so.

    Args:
        output: The key the decision is stored under; without it it is merged into the
            context. It has `decision` (`"approved"` or `"rejected"`), `actor`,
            `decided_at`, and `comment` and `metadata` if they were given.
        after: See above.
    """
    return Step("approval", output=output, after=after)


@dataclass(frozen=True, eq=False, slots=True)
class Trigger(Declaration):
    """A declared way to start a workflow; made by `manual` and `cron`."""

    kind: Literal["manual", "cron"]
    fields: Mapping[str, Any]
    schema: Any = None
    expression: Any = None
    timezone: Any = None
    catch_up: Any = None


def manual(
    *,
    schema: SchemaLike | Field[Any] | None = None,
    **fields: Field[Any],
) -> Trigger:
    """Declare a trigger for `start_run`, with its payload as marshmallow fields or a schema.

    Keys the contract does not know are refused; a `load_default` that is a
    function is called once, when the run is created.

    Example::

        desk = manual(order=fields.String(required=True), note=fields.String())

    Args:
        schema: A marshmallow schema, class or object, in place of fields. (A payload
            field of this name is no problem: a field is taken for a field.)
        fields: The payload's fields, by name.
    """
    if isinstance(schema, Field):
        return Trigger("manual", {"schema": schema, **fields})
    return Trigger("manual", fields, schema)


def cron(
    expression: str,
    /,
    timezone: str = "UTC",
    catch_up: CatchUp = "latest",
    schema: SchemaLike | None = None,
    **fields: Field[Any],
) -> Trigger:
    """Declare a trigger that starts runs by the clock of *timezone*.

    Args:
        expression: Five fields (minute, hour, day of month, month, day of week), or a
            name such as `@daily`.
        timezone: An IANA name, such as `"Europe/Paris"`.
        catch_up: Which windows missed during downtime start a run: the latest, all or none.
        schema: The payload's schema; every field has a default or may be absent.
        fields: The same, field by field.
    """
    return Trigger("cron", fields, schema, expression, timezone, catch_up)


def exponential(
    minimum: float, maximum: float, factor: float = 2, jitter: float = 0.0
) -> BackoffSpec:
    """Wait `min(minimum * factor**(n-1), maximum)` seconds after failed attempt n.

    Args:
        minimum: Seconds after the first failed attempt; more than 0.
        maximum: Seconds that no delay exceeds; at least *minimum*.
        factor: By how much each delay is longer than the one before.
        jitter: The share, from 0 to 1, by which a delay may be shortened at random.
    """
    return BackoffSpec("exponential", minimum, maximum, factor, jitter)


def fixed(seconds: float) -> BackoffSpec:
    """Wait the same number of *seconds* after every failed attempt; more than 0."""
    return BackoffSpec("fixed", seconds, seconds)
