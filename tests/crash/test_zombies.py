"""An attempt that was taken over changes nothing, whatever it tries; `zombies` tries more."""

from __future__ import annotations

from tests.crash.host import prepare
from tests.crash.zombies import graveyard


def test_writes_with_old_tokens_are_never_accepted(postgres_databases):
    url = postgres_databases.create(prepare)
    with graveyard(url) as dead:
        dead.haunt(3000, settlements=200)
    postgres_databases.drop(url)
    assert dead.attempted.total() == 3400
    assert dead.accepted == []
