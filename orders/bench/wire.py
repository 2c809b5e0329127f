"""What this process says to PostgreSQL, counted where nothing escapes: in libpq's own trace."""

import os
import re
from tempfile import TemporaryFile
from typing import Any

from django.db.backends.signals import connection_created
from psycopg.pq import Trace

_STATEMENT = re.compile(rb"^F\t\d+\t(?:Query|Execute)\t", re.MULTILINE)
_TRANSACTION_ENDED = re.compile(rb"^B\t\d+\tReadyForQuery\t I", re.MULTILINE)


class Wire:
    """Listens to every connection that Django opens from now on, in any thread."""

    def __init__(self) -> None:
        self._files: list[Any] = []
        connection_created.connect(self._listen)

    def _listen(self, *, connection: Any, **_signal: Any) -> None:
        file = TemporaryFile()  # noqa: SIM115  (as long as the process)
        self._files.append(file)
        line = connection.connection.pgconn
        line.trace(os.dup(file.fileno()))
        line.set_trace_flags(Trace.SUPPRESS_TIMESTAMPS)

    def statements(self) -> int:
        """How many statements were sent, BEGIN and COMMIT included."""
        return self._count(_STATEMENT)

    def transactions(self) -> int:
        """How many transactions have ended, autocommitted statements included."""
        return self._count(_TRANSACTION_ENDED)

    def _count(self, pattern: re.Pattern[bytes]) -> int:
        return sum(len(pattern.findall(_content(file.fileno()))) for file in self._files)


def _content(file: int) -> bytes:
    return os.pread(file, os.fstat(file).st_size, 0)  # leaves the position to libpq, which writes there
