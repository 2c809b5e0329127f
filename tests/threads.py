"""Doing several things at the same time, each in a thread with a connection of its own."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from django.db import connection

from tests.servers import wait_until


@contextmanager
def meanwhile(*work: Callable[[], object]) -> Iterator[None]:
    """Do it in threads of their own; at the end wait for them, and raise what one of them raised."""
    raised: list[BaseException] = []

    def run(each: Callable[[], object]) -> None:
        try:
            each()
        except BaseException as error:  # noqa: BLE001  (raised again below)
            raised.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[each]) for each in work]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    if raised:
        raise raised[0]


def waiting() -> int:
    """How many connections to this database wait for somebody's lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # a transaction sees it once, and keeps that
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(cursor.fetchone()[0])


def wait_for_waiters(count: int = 1) -> None:
    """Return when so many wait; SQLite does not tell, so there what comes is what must come in any order."""
    if connection.vendor == "postgresql":
        wait_until(lambda: waiting() == count, 10, f"{count} wait")


def at_once(*work: Callable[[], object]) -> None:
    """Do it all at the same moment, and wait for it; raises what one of them raised."""
    together = threading.Barrier(len(work))

    def started_together(each: Callable[[], object]) -> None:
        with connection.cursor() as cursor:  # so that connecting does not queue them up
            cursor.execute("SELECT 1")
        together.wait(20)
        each()

    with meanwhile(*(partial(started_together, each) for each in work)):
        pass
