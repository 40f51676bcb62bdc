"""Saying once that something is wrong, and once that it is over."""

from __future__ import annotations

import logging
import traceback

from flask_squidmesh.exceptions import ConfigError


class Trouble:
    """One condition that may last: a broker or a database that is away.

    What repeats every second must not fill the log: the first occurrence is a
    warning, the following ones are for debugging, the end is worth a line.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._lasting = False

    def arose(self, message: str, *values: object) -> None:
        """Log *message*, as a warning if the trouble is new."""
        level = logging.DEBUG if self._lasting else logging.WARNING
        self._lasting = True
        self._logger.log(level, message, *values)

    def passed(self, message: str, *values: object) -> None:
        """Log *message* if there was trouble until now."""
        if self._lasting:
            self._lasting = False
            self._logger.info(message, *values)


def described(error: BaseException) -> str:
    """Return the type of *error* and where it came from, without its text.

    The text of a database error repeats the statement's parameters, which may
    be a payload, and payloads are not logged. That of a `ConfigError` is ours,
    and says what to do.
    """
    if isinstance(error, ConfigError):
        return str(error)
    kind = type(error)
    frames = "".join(traceback.format_tb(error.__traceback__)).rstrip()
    return f"{kind.__module__}.{kind.__qualname__}\n{frames}"
