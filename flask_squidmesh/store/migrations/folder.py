"""A host's migrations folder: which of our revisions it lacks, and how it gets them.

Reads and writes files only: neither the host's `env.py` nor its database is
touched, so that it works wherever the source tree is. How far a folder has
come is the largest `squidmesh_migration` in it, not a file name: a host that
squashes its revisions keeps that one line.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from typing import Final

from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError

from flask_squidmesh.exceptions import ConfigError

TEMPLATE_NAME: Final = re.compile(r"(?P<number>\d{4})_(?P<slug>\w+)\.py\.template")
CREATED_TABLE: Final = re.compile(r"create_table\(\s*['\"](squidmesh_\w+)['\"]")
MARKER: Final = "squidmesh_migration"
FLASK_MIGRATE_FOLDER: Final = "migrations"
"""Where Flask-Migrate puts and looks for migrations when nobody names a folder."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One of our revisions, not yet placed on top of another."""

    number: int
    slug: str
    template: str

    @property
    def id(self) -> str:
        """Stable, so that two branches that both install it meet in one file."""
        return f"sqm{self.number:04d}"

    @property
    def file_name(self) -> str:
        return f"{self.id}_{self.slug}.py"

    def render(self, down_revision: str | None) -> str:
        """Return the source of the revision that follows *down_revision*."""
        return Template(self.template).substitute(
            revision=self.id,
            down_revision="None" if down_revision is None else json.dumps(down_revision),
            number=self.number,
        )


@dataclass(frozen=True, slots=True)
class InstallReport:
    """What an installation did.

    `added` are the files written, each follows the one before; `after` is the
    revision the first of them follows (`None`: nothing);
    `present` are the ids of the revisions that were there before; `heads` are
    those that the migrations have now.
    """

    folder: Path
    added: tuple[Path, ...]
    after: str | None
    present: tuple[str, ...]
    heads: tuple[str, ...]


def revisions(templates: Traversable | None = None) -> tuple[Revision, ...]:
    """List the revisions in the folder *templates*, by default those of this release, by number."""
    found = []
    for entry in (templates or resources.files(__package__)).iterdir():
        if match := TEMPLATE_NAME.fullmatch(entry.name):
            text = entry.read_text(encoding="utf-8")
            found.append(Revision(int(match["number"]), match["slug"], text))
    return tuple(sorted(found, key=lambda revision: revision.number))


class MigrationsFolder:
    """The migrations folder that *config* describes, and what is *offered* to it.

    `command` is how the host calls Flask-Migrate (`flask db`), for the
    instructions in errors. Everything refused is a `ConfigError`.
    """

    def __init__(
        self, config: Config, offered: Sequence[Revision], *, command: str = "flask db"
    ) -> None:
        self._offered = offered
        self._command = command
        self._scripts = _scripts(config, command)
        try:
            self._placed: Sequence[Script] = tuple(self._scripts.walk_revisions())
        except CommandError as error:
            raise ConfigError(
                summary=f"the migrations in {self._scripts.dir} can not be read ({error}); "
                f"mend them until '{command} history' works, then install again"
            ) from error

    def missing(self) -> tuple[Revision, ...]:
        """List the revisions that are not in the folder yet, oldest first."""
        return tuple(revision for revision in self._offered if revision.number > self._reached)

    @property
    def _reached(self) -> int:
        return max(map(_number, self._placed), default=0)

    def install(self, *, head: str | None = None) -> InstallReport:
        """Write the missing revisions on top of *head*.

        By default that is the only head there is, or the only one that has our
        earlier revisions below it: what changes tables has to follow what made
        them. Each file appears whole or not at all, the oldest first, so that an
        interrupted installation is continued by the next.
        """
        missing = self.missing()
        present = tuple(revision.id for revision in self._offered if revision not in missing)
        if not missing:
            heads = tuple(sorted(self._scripts.get_heads()))
            return InstallReport(Path(self._scripts.dir), (), None, present, heads)
        self._refuse_tables_of(missing)
        top = self._top(head)
        folder = self._folder(top)
        after = top.revision if top else None
        added = []
        below = after
        for revision in missing:
            added.append(_write(folder / revision.file_name, revision.render(below)))
            below = revision.id
        now = {*self._scripts.get_heads(), below} - {after}
        return InstallReport(folder, tuple(added), after, present, tuple(sorted(filter(None, now))))

    def _top(self, head: str | None) -> Script | None:
        heads = self._scripts.get_heads()
        named = ", ".join(sorted(heads)) or "none yet"
        ours = [each for each in heads if self._follows_ours(each)]
        if head is None and len(heads) > 1 and len(ours) != 1:
            raise ConfigError(
                summary=f"the migrations have several heads ({named}); "
                f"run '{self._command} merge heads' first, or choose one with --head"
            )
        if head is None and ours:
            head = ours[0]
        try:
            found = self._scripts.get_revisions("heads" if head is None else head)
        except CommandError as error:
            raise ConfigError(
                summary=f"--head {head} is not known ({error}); heads are: {named}"
            ) from error
        if head is not None and (len(found) != 1 or found[0].revision not in heads):
            raise ConfigError(
                summary=f"--head {head} is not a head of the migrations, and a revision on top of "
                f"it would be a branch; heads are: {named}"
            )
        if head is not None and self._reached and found[0].revision not in ours:
            raise ConfigError(
                summary=f"--head {head} does not follow the revisions of flask_squidmesh that are "
                f"installed, and what changes their tables has to; choose {', '.join(ours)}, "
                f"or run '{self._command} merge heads' first"
            )
        return found[0] if found else None

    def _follows_ours(self, head: str) -> bool:
        """Return whether the newest of our revisions in the folder is *head*, or below it."""
        below = map(_number, self._scripts.walk_revisions(head=head))
        return self._reached > 0 and self._reached in below

    def _folder(self, top: Script | None) -> Path:
        """Return where Alembic itself would put a revision that follows *top*."""
        try:
            return Path(self._scripts.versions)
        except CommandError as error:  # several version_locations
            if top is not None:
                return Path(top.path).parent
            raise ConfigError(
                summary="the migrations have several version_locations and no revision yet; "
                f"create the first one ('{self._command} revision --version-path ...'), "
                "then install again"
            ) from error

    def _refuse_tables_of(self, missing: Iterable[Revision]) -> None:
        """Refuse when the host's own revisions create our tables: autogenerated too early."""
        ours = {table for revision in missing for table in _created_tables(revision.template)}
        for script in self._placed:
            path = Path(script.path)
            if hasattr(script.module, MARKER) or path.suffix != ".py":
                continue
            doubled = ours & _created_tables(path.read_text(encoding="utf-8", errors="replace"))
            if doubled:
                raise ConfigError(
                    summary=f"{path.name} creates tables of flask_squidmesh "
                    f"({', '.join(sorted(doubled))}), as autogenerate does before they are "
                    "installed; remove them from that file, or delete it, and install again (if "
                    "it stands for our revisions on purpose, say so with the line "
                    f"'{MARKER} = {max(revision.number for revision in missing)}')"
                )


def _scripts(config: Config, command: str) -> ScriptDirectory:
    try:
        scripts = ScriptDirectory.from_config(config)
    except CommandError as error:
        raise _no_folder(config, command) from error
    # Without it the folder is any folder, and '... init' would refuse to fill it after us.
    if not Path(scripts.dir, "env.py").is_file():
        raise _no_folder(config, command)
    return scripts


def _no_folder(config: Config, command: str) -> ConfigError:
    location = config.get_main_option("script_location") or ""
    init = f"{command} init"
    if location != FLASK_MIGRATE_FOLDER:
        init += f" --directory {shlex.quote(location)}"
    return ConfigError(
        summary=f"there are no migrations in {location!r} to install into; "
        f"run '{init}' first, or name the folder with --directory"
    )


def _number(script: Script) -> int:
    """Return which of our revisions *script* is, or stands for; 0 for none."""
    number: int = getattr(script.module, MARKER, 0)
    return number


def _created_tables(source: str) -> set[str]:
    return set(CREATED_TABLE.findall(source))


def _write(path: Path, source: str) -> Path:
    """Write *source* to the new file *path*; nobody ever sees a half of it."""
    if path.exists():
        raise ConfigError(
            summary=f"{path} exists, but no longer says '{MARKER}'; "
            "restore it from your version control, or delete it and install again"
        )
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_text(source, encoding="utf-8", newline="\n")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(
            summary=f"can not write {path} ({error.strerror}); "
            "make the folder writable for you and install again"
        ) from error
    return path
