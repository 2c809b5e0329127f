"""The embedded house: database, broker and workers in this one process."""

from collections.abc import Iterator
from contextlib import contextmanager

import dramatiq
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from pizzahouse.messaging import outstanding
from pizzahouse.messaging.broker import EmbeddedBroker

THREADS = 4


def is_embedded() -> bool:
    """Whether no broker is configured, so that this process has to do all the work itself."""
    return isinstance(dramatiq.get_broker(), EmbeddedBroker)


def migrate() -> None:
    """Bring the database up to date."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        call_command("migrate", verbosity=0, interactive=False)


@contextmanager
def workers() -> Iterator[None]:
    """Run workers in this process. What an embedded one before left unfinished goes on, too."""
    if is_embedded():
        outstanding.recover()
    worker = dramatiq.Worker(dramatiq.get_broker(), worker_threads=THREADS, worker_timeout=100)
    worker.start()
    try:
        yield
    finally:
        worker.stop()
