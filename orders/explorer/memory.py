"""A database in memory, in the place of the configured one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management import call_command
from django.db import connections
from django.db.backends.sqlite3.base import DatabaseWrapper

from orders.explorer.rows import Table


class Memory(DatabaseWrapper):
    """An SQLite database that notes what its user does: whether rows are locked, and when it commits."""

    def __init__(self) -> None:
        like = connections.settings["default"]
        own = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:", "OPTIONS": {}}
        super().__init__({**like, **own}, "default")
        self.locks = 0
        self.commits = 0
        self.crash_at: int | None = None  # the commit that a process does not live to make
        self.features.has_select_for_update = True
        self.ops.for_update_sql = self._note_lock  # type: ignore[method-assign]

    def _note_lock(self, *_: Any, **__: Any) -> str:
        """SQLite needs no row locks; that one was asked for is what counts here."""
        self.locks += 1
        return ""

    def _commit(self) -> None:
        if self.commits == self.crash_at:
            self.connection.rollback()
            raise Crash
        self.commits += 1
        super()._commit()  # type: ignore[misc]

    def load(self, rows: dict[Table, list[dict[str, Any]]]) -> None:
        """Have just these rows in these tables."""
        raw: Any = self.connection
        raw.execute("PRAGMA foreign_keys = OFF")  # while they come in any order
        for table, contents in rows.items():
            raw.execute(f'DELETE FROM "{table.name}"')  # noqa: S608  (names of models)
            for row in contents:
                raw.execute(table.insertion(tuple(row)), tuple(row.values()))
        raw.execute("PRAGMA foreign_keys = ON")

    def read(self, table: Table) -> list[dict[str, Any]]:
        """The rows of a table, without the keys that SQLite made up."""
        raw: Any = self.connection
        return [dict(zip(table.columns, row, strict=True)) for row in raw.execute(table.selection)]


class Crash(BaseException):
    """The process ends here; nothing of it goes on."""


@contextmanager
def in_memory() -> Iterator[Memory]:
    """Work on such a database, migrated and otherwise empty, until the end of the block."""
    usual = connections["default"]
    memory = Memory()
    connections["default"] = memory
    try:
        call_command("migrate", verbosity=0, interactive=False)
        yield memory
    finally:
        connections["default"] = usual
        if memory.connection is not None:
            memory.connection.close()
