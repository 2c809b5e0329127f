"""A house for the occasion: a database, queues and worker processes of its own, gone when it closes."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from secrets import token_hex

from django.conf import settings
from django.db import connection

from orders.bench import direct
from orders.bench.figures import Plan
from orders.bench.processes import running
from orders.bench.servers import own_database, own_queues
from orders.cli import Exit, Failed, note_console

FLUSH_SECONDS = 15.0
MANAGE = [sys.executable, str(settings.BASE_DIR / "manage.py")]


@dataclass(frozen=True)
class House:
    """Where the bench takes place."""

    database: str
    prefix: str
    environment: dict[str, str]

    def manage(self, *arguments: str) -> bytes:
        """Run one of its commands; returns what it prints. Raises Failed."""
        done = subprocess.run(  # noqa: S603
            [*MANAGE, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us; what runs is then killed
            check=False,
        )
        if done.returncode:
            away = done.returncode == Exit.UNREACHABLE
            raise Failed(
                f"The bench's own `manage.py {arguments[0]}` ended with {done.returncode}, see above.",
                Exit.UNREACHABLE if away else Exit.ERROR,
            )
        return done.stdout

    @contextmanager
    def workers(self, plan: Plan) -> Iterator[list[int]]:
        """Worker processes of the house; gives their process groups."""
        size = ["--processes", str(plan.processes), "--threads", str(plan.threads)]
        with running([([*MANAGE, "rundramatiq", *size], self.environment)]) as groups:
            yield groups

    @contextmanager
    def direct_workers(self, plan: Plan) -> Iterator[list[int]]:
        """Worker processes of the direct flow; each is a group, since each has an orders queue."""
        command = [sys.executable, "-m", "dramatiq", "orders.bench.direct:broker"]
        size = ["--processes", "1", "--threads", str(plan.threads)]
        commands = [
            (
                [*command, *size, "--queues", *direct.queues(process, self.prefix)],
                self.environment | {"BENCH_PROCESS": str(process)},
            )
            for process in range(plan.processes)
        ]
        with running(commands) as groups:
            yield groups

    def commits(self) -> int:
        """PostgreSQL's count of committed transactions, once all processes of the house have ended: a
        backend reports what it did at the latest when it exits."""
        deadline = time.monotonic() + FLUSH_SECONDS
        with connection.cursor() as cursor:
            while time.monotonic() < deadline:
                cursor.execute(
                    "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND backend_type = %s",
                    [self.database, "client backend"],
                )
                if cursor.fetchone() is None:
                    break
                time.sleep(0.05)
            cursor.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = %s", [self.database])
            return int(cursor.fetchone()[0])


@contextmanager
def opened(plan: Plan) -> Iterator[House]:
    """Open a house for this plan; afterwards nothing is left of it. Raises Failed."""
    tag = token_hex(4)
    prefix = f"bench-{tag}-"
    with own_queues(plan, prefix), own_database(tag) as (database, url):
        environment = os.environ | {
            "DATABASE_URL": url,
            "RABBITMQ_URL": settings.RABBITMQ_URL,
            "PIZZAHOUSE_QUEUE_PREFIX": prefix,
            "PIZZAHOUSE_PACE": "0",
            "LOG_LEVEL": "WARNING",
            "PYTHONPATH": str(settings.BASE_DIR),
        }
        house = House(database, prefix, environment)
        note_console().print(f"The bench's own house: database {database}, queues {prefix}*", markup=False)
        house.manage("migrate", "--verbosity", "0")
        yield house
