"""A house of one's own: a database, queues, and commands and workers as a user runs them."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import psycopg
from pika.exceptions import AMQPError
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier

from tests.servers import (
    NotInTime,
    connect_to_broker,
    group_members,
    kill_group,
    wait_until,
    without_house,
)

PROJECT = Path(__file__).resolve().parent.parent
QUEUES = ("orders", "menu", "waiter", "kitchen", "heavy_worker")
READY = "Worker process is ready for action"
COMMAND_SECONDS = READY_SECONDS = 60.0
Row = dict[str, Any]

# What is sent while a table is served, with five pizzas: each once, but what is done per pizza.
ONCE = (
    "StartTableService TableServiceStarted GetMenu MenuGot ShowMenu MenuShown PlaceOrder OrderPlaced"
    " ServePizzas PizzasServed ShowBill BillPaid ThankClient ClientThanked"
)
WHOLE_STORY = Counter(ONCE.split()) + Counter({"DoPizza": 5, "PizzaDone": 5})


def told(story: Row) -> Counter[str]:
    """How often each command and event stands in a saga's history."""
    return Counter(entry["type"] for entry in story["history"] if entry["kind"] in {"command", "event"})


class CommandFailed(AssertionError):
    """A command ended otherwise than it should."""


# --- Commands -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ran:
    """What came of a command."""

    command: str
    code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """Its result, which must be one JSON document and nothing else."""
        return json.loads(self.stdout)

    def __str__(self) -> str:
        return f"{self.command}: exit code {self.code}\n{self.stdout}\n{self.stderr}".rstrip()


@dataclass
class Running:
    """A command that runs, in a process group of its own, its output in files."""

    command: str
    process: "subprocess.Popen[bytes]"
    output: Path
    errors: Path

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    @property
    def stdout(self) -> str:
        """What it has said so far."""
        return self.output.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        """What it has logged so far."""
        return self.errors.read_text(errors="replace")

    def finish(self, timeout: float = COMMAND_SECONDS) -> Ran:
        """Wait until it ends, and tell what came of it; kill it where it does not end in time."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise CommandFailed(f"not done within {timeout:g} s: {self}") from None
        return Ran(self.command, code, self.stdout, self.stderr)

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL, to it and to each of its children."""
        kill_group(self.process)

    def __str__(self) -> str:
        return f"{self.command}\n{self.stdout[-2000:]}{self.stderr[-8000:]}"


class Workers(Running):
    """`manage.py rundramatiq`: a master and its worker processes."""

    def wait_until_ready(self, processes: int) -> Self:
        """Return once all its processes consume."""

        def ready() -> bool:
            if not self.runs:
                raise CommandFailed(f"the workers ended at their start: {self}")
            return self.stderr.count(READY) >= processes

        wait_until(ready, READY_SECONDS, f"these workers are ready: {self.command}")
        return self

    def children(self) -> list[int]:
        """The ids of its worker processes."""
        return [member for member in group_members(self.process.pid) if member != self.process.pid]

    def kill_child(self, chance: random.Random) -> None:
        """SIGKILL to one of its worker processes; the master then stops the others and ends."""
        if children := self.children():
            with suppress(ProcessLookupError):
                os.kill(chance.choice(children), signal.SIGKILL)

    def stop(self, timeout: float = 30.0) -> int:
        """SIGTERM: it finishes what it does and ends. Returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.finish(timeout).code


Kind = TypeVar("Kind", bound=Running)


# --- The house ------------------------------------------------------------------------------------


@dataclass
class House:
    """One house. Without a broker it is embedded, and its database an SQLite file."""

    folder: Path
    database_url: str
    rabbitmq_url: str = ""
    pace: float = 0.0
    variables: dict[str, str] = field(default_factory=dict)
    queue_prefix: str = field(default_factory=lambda: f"t-{uuid4().hex[:12]}-")
    running: list[Running] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What its commands and workers see."""
        return without_house(os.environ) | {
            "DATABASE_URL": self.database_url,
            **({"RABBITMQ_URL": self.rabbitmq_url} if self.rabbitmq_url else {}),
            "PIZZAHOUSE_QUEUE_PREFIX": self.queue_prefix,
            "PIZZAHOUSE_PACE": str(self.pace),
            "LOG_LEVEL": "INFO",
            **self.variables,
        }

    def start(self, *arguments: str, env: dict[str, str] | None = None) -> Running:
        """Start `manage.py …` and return at once."""
        return self._start(Running, arguments, env)

    def manage(
        self,
        *arguments: str,
        timeout: float = COMMAND_SECONDS,
        check: bool = True,
        env: dict[str, str] | None = None,
    ) -> Ran:
        """Run `manage.py …` to its end. check: raise CommandFailed where the exit code is not 0."""
        ran = self.start(*arguments, env=env).finish(timeout)
        if check and ran.code:
            raise CommandFailed(str(ran))
        return ran

    def manage_json(self, *arguments: str, timeout: float = COMMAND_SECONDS) -> Any:
        """Run `manage.py … --json` and return its document."""
        return self.manage(*arguments, "--json", timeout=timeout).json()

    def workers(self, *queues: str, processes: int = 1, threads: int = 4, wait: bool = True) -> Workers:
        """Start workers for these queues, or for all. wait: until they are ready."""
        options = ["--processes", str(processes), "--threads", str(threads)]
        if queues:
            options += ["--queues", *queues]
        workers = self._start(Workers, ("rundramatiq", *options))
        return workers.wait_until_ready(processes) if wait else workers

    def _start(self, kind: type[Kind], arguments: Sequence[str], env: dict[str, str] | None = None) -> Kind:
        file = self.folder / f"{len(self.running)}-{arguments[0]}"
        output, errors = file.with_suffix(".out"), file.with_suffix(".err")
        with output.open("wb") as stdout, errors.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "manage.py", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=PROJECT,
                env=self.environment | (env or {}),
                start_new_session=True,
            )
        running = kind("manage.py " + " ".join(arguments), process, output, errors)
        self.running.append(running)
        return running

    # --- What can be seen of it -------------------------------------------------------------------

    def sagas(self) -> list[Row]:
        """All sagas, as `manage.py sagas --json` lists them."""
        return list(self.manage_json("sagas"))

    def saga(self, saga: str) -> Row:
        """One saga with its history, as `manage.py saga ID --json` tells it."""
        return dict(self.manage_json("saga", saga))

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        """Ask the database itself; %s stands for a parameter."""
        if self.database_url.startswith("sqlite"):
            return self._query_sqlite(sql.replace("%s", "?"), params)
        with psycopg.connect(self.database_url, autocommit=True, row_factory=dict_row) as connection:
            cursor = connection.execute(sql.encode(), params or None)
            return cursor.fetchall() if cursor.description else []

    def _query_sqlite(self, sql: str, params: Sequence[Any]) -> list[Row]:
        path = urlsplit(self.database_url).path[1:]
        with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql, params)]

    def states(self) -> dict[str, int]:
        """How many sagas there are in each state."""
        rows = self.query("SELECT state, count(*) AS sagas FROM orders_tableservice GROUP BY state")
        return {row["state"]: row["sagas"] for row in rows}

    def all_sagas(self, state: str, count: int) -> bool:
        """Whether there are so many sagas, all of them in this state."""
        return self.states() == {state: count}

    def count(self, sql: str) -> dict[str, Counter[str]]:
        """By saga, the counts that a query returns as rows of saga, what, how often."""
        counts: dict[str, Counter[str]] = {}
        for row in self.query(sql):
            saga, what, times = row.values()
            counts.setdefault(str(UUID(str(saga))), Counter())[what] = times
        return counts

    def messages(self) -> dict[str, Counter[str]]:
        """By saga, how many messages of each type were put."""
        sql = "SELECT saga_id, type, count(*) FROM messaging_outboxmessage GROUP BY saga_id, type"
        return self.count(sql)

    def pending(self) -> int:
        """Messages of the outbox that no broker has confirmed yet."""
        sql = (
            "SELECT count(*) AS messages FROM messaging_outboxmessage"
            " WHERE sent_at IS NULL AND available_at IS NOT NULL"  # a withdrawn one is left alone
        )
        return int(self.query(sql)[0]["messages"])

    def handled(self) -> dict[str, int]:
        """How many messages of the inbox there are of each status."""
        sql = "SELECT status, count(*) AS messages FROM messaging_inboxmessage GROUP BY status"
        return {row["status"]: row["messages"] for row in self.query(sql)}

    def wait_until(self, condition: Callable[[], object], deadline: float, message: str) -> None:
        """Like `servers.wait_until`; where it takes too long, tell also how things stand."""
        try:
            wait_until(condition, deadline, message)
        except NotInTime as error:
            standing = f"sagas {self.states()}, inbox {self.handled()}, {self.pending()} pending"
            raise NotInTime(f"{error}; {standing}") from None

    def report(self) -> str:
        """The last words of its latest commands and workers, for a test that failed."""
        return "\n".join(f"--- {running}" for running in self.running[-8:])

    # --- The end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Kill what still runs and delete its queues."""
        for running in self.running:
            running.kill()
        if self.rabbitmq_url:
            with suppress(AMQPError, OSError):  # a broker of the test's own may be gone
                self._delete_queues()

    def _delete_queues(self) -> None:
        connection = connect_to_broker(self.rabbitmq_url)
        channel = connection.channel()
        for queue in QUEUES:
            channel.queue_delete(self.queue_prefix + queue)
        connection.close()


# --- Databases ------------------------------------------------------------------------------------


class Databases:
    """Makes migrated databases: each server's first is migrated, the others are copies of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.templates: dict[str, str] = {}

    def create(self, server: str) -> str:
        """A new database on this server; returns its URL."""
        if server not in self.templates:
            self.templates[server] = _create(server)
            House(self.folder, self.templates[server]).manage("migrate")
        return _create(server, _name(self.templates[server]))

    def drop(self, server: str, database_url: str) -> None:
        """Drop it, whoever is still connected. Where the server is gone, so is the database."""
        with suppress(psycopg.OperationalError), psycopg.connect(server, autocommit=True) as admin:
            admin.execute(SQL("DROP DATABASE {} (FORCE)").format(Identifier(_name(database_url))))

    def close(self) -> None:
        """Drop the templates."""
        for server, template in self.templates.items():
            self.drop(server, template)


def _create(server: str, template: str = "template1") -> str:
    name = f"test_pizzahouse_{uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as admin:
        statement = SQL("CREATE DATABASE {} TEMPLATE {}")
        admin.execute(statement.format(Identifier(name), Identifier(template)))
    return urlsplit(server)._replace(path=f"/{name}").geturl()


def _name(database_url: str) -> str:
    return urlsplit(database_url).path[1:]
