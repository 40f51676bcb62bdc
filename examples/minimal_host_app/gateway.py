"""A payment gateway for this example: a real HTTP server, and not a reliable one.

    python -m minimal_host_app.gateway --port 8765 --failures 2

It answers the first calls for an invoice with 503, then charges it; the cards
of some accounts are declined with 402, always. Asked again with the same
Idempotency-Key, it repeats the charge it has made.
"""

from __future__ import annotations

import argparse
import json
import threading
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Gateway:
    """Answers in threads of this process while used as a context manager."""

    def __init__(
        self, *, failures: int = 2, declined: Iterable[str] = ("grace",), port: int = 0
    ) -> None:
        self.failures = failures
        self.declined = set(declined)
        self.calls: Counter[str] = Counter()
        self.charges: dict[str, str] = {}
        self.charged: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._is_open = threading.Event()
        self._is_open.set()
        self._server = _Server(self, port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/charges"

    def hold(self) -> None:
        """Keep everybody waiting who asks from now on."""
        self._is_open.clear()

    def release(self) -> None:
        """Answer those who wait, and everybody again."""
        self._is_open.set()

    def answer(self, invoice: dict[str, Any], key: str) -> tuple[int, dict[str, str]]:
        with self._lock:
            self.calls[invoice["id"]] += 1
            called = self.calls[invoice["id"]]
        self._is_open.wait()
        with self._lock:
            if invoice["account_id"] in self.declined:
                return 402, {"error": "card declined"}
            if called <= self.failures:
                return 503, {"error": "try again later"}
            if key not in self.charges:
                self.charges[key] = f"charge-{len(self.charges) + 1}"
                self.charged[invoice["id"]] += 1
            return 200, {"charge": self.charges[key]}

    def serve_forever(self) -> None:
        self._server.serve_forever(poll_interval=0.05)

    def close(self) -> None:
        self._server.server_close()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve_forever, name="gateway", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._server.shutdown()
        self._thread.join()
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, gateway: Gateway, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Request)
        self.gateway = gateway


class _Request(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        try:
            length = int(self.headers.get("Content-Length", 0))
            invoice = json.loads(self.rfile.read(length))["invoice"]
            key = self.headers["Idempotency-Key"] or ""
            status, document = self.server.gateway.answer(invoice, key)
        except (KeyError, TypeError, ValueError):
            status, document = 400, {"error": 'send {"invoice": {"id", "account_id", "amount"}}'}
        with suppress(ConnectionError):  # who asked may be gone by now
            self._send(status, json.dumps(document).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the example's payment gateway.")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--failures", type=int, default=2, help="calls per invoice that fail")
    options = parser.parse_args()
    gateway = Gateway(port=options.port, failures=options.failures)
    print(f"Answering on {gateway.url}; press Ctrl+C to stop.", flush=True)
    try:
        gateway.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        gateway.close()


if __name__ == "__main__":
    main()
