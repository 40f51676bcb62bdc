"""Kill processes at every commit boundary of every shape: `python -m tests.crash.full`.

This process imports everything once and forks the ones that die, so that a
kill costs as little as a fork. It makes no connection itself.
"""

from __future__ import annotations

import argparse
import gc
import logging
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url

from tests.crash.explore import MODES, Explored, explore
from tests.crash.host import prepare
from tests.crash.shapes import SHAPES
from tests.support.databases import Databases, PostgresDatabases, SqliteDatabases
from tests.support.postgres import postgres_server


def main(arguments: list[str] | None = None) -> int:
    """Explore what is asked for, print a line per shape, and return 1 if anything was wrong."""
    options = _parser().parse_args(arguments)
    # Steps fail by the thousand here, as they should.
    logging.getLogger("flask_squidmesh").setLevel(logging.CRITICAL)
    print(f"seed {options.seed}")
    print(f"{'database':11}{'shape':18}{'mode':10}{'commits':>8}{'points':>8}{'kills':>7}{'s':>7}")
    # The collector would touch, and so copy, what the processes to come share with this one.
    gc.collect()
    gc.freeze()
    all_found: list[Explored] = []
    with ExitStack() as stack:
        kinds = [None] if options.url else options.databases.split(",")
        for kind in kinds:
            url = options.url if kind is None else stack.enter_context(_database(kind))
            prepare(url)
            for mode in options.modes.split(","):
                for name in options.shapes.split(","):
                    found = explore(
                        url,
                        name,
                        mode,
                        every=options.every,
                        pairs=options.pairs,
                        seed=options.seed,
                    )
                    _print(make_url(url).get_backend_name(), found)
                    all_found.append(found)
    wrong = sum(bool(found.problems) for found in all_found)
    points, kills = (sum(getattr(f, name) for f in all_found) for name in ("points", "killed"))
    print(f"{len(all_found)} shapes, {points} points, {kills} kills: {wrong} shapes with problems")
    return 1 if wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.full", description=__doc__)
    parser.add_argument("--databases", default="sqlite,postgresql", help="which kinds")
    parser.add_argument("--url", help="one empty database to use instead of own ones")
    parser.add_argument("--shapes", default=",".join(SHAPES), help="which shapes")
    parser.add_argument("--modes", default=",".join(MODES), help="how far a worker goes on")
    parser.add_argument("--every", type=int, default=1, help="kill at every n-th point only")
    parser.add_argument("--pairs", type=int, default=10, help="also kill two processes in a row")
    parser.add_argument("--seed", type=int, default=1, help="of the pairs")
    return parser


@contextmanager
def _database(kind: str) -> Iterator[str]:
    with ExitStack() as stack:
        databases: Databases
        if kind == "sqlite":
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="squidmesh-crash-"))
            databases = SqliteDatabases(Path(folder))
        else:
            databases = PostgresDatabases(stack.enter_context(postgres_server()).url())
        url = databases.create()
        yield url
        databases.drop(url)


def _print(kind: str, found: Explored) -> None:
    numbers = f"{found.commits:8}{found.points:8}{found.killed:7}{found.seconds:7.1f}"
    print(f"{kind:11}{found.shape:18}{found.mode:10}{numbers}", flush=True)
    for problem in found.problems[:10]:
        print(f"    {problem}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
