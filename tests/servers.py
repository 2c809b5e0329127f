"""The servers of the tests: the two that run already, and one's own, to be stopped and killed."""

import json
import logging
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pika
import psycopg
from pika.exceptions import AMQPError

PROBE_SECONDS = 2
START_SECONDS = 60.0
BOTH = "`docker compose up -d postgres rabbitmq` starts both servers."


class Unavailable(Exception):
    """A server cannot be started here; the message names what is missing."""


class NotInTime(AssertionError):
    """What was waited for did not happen before the deadline."""


def wait_until(condition: Callable[[], object], deadline: float, message: str) -> None:
    """Return as soon as the condition holds; after `deadline` seconds raise NotInTime."""
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            raise NotInTime(f"not within {deadline:g} s: {message}")
        time.sleep(0.05)


# --- The servers that run already -----------------------------------------------------------------


@dataclass(frozen=True)
class Service:
    """A server the tests use where they find it, at an address from the environment."""

    name: str
    variable: str
    default: str
    how_to_start: str
    probe: Callable[[str], None]

    @property
    def url(self) -> str:
        """Its address; empty where the environment says that the tests shall do without."""
        url = os.environ.get(self.variable, self.default)
        return "" if url.lower() == "none" else url

    @property
    def missing(self) -> str:
        """Why it cannot be used and what to do, as a sentence; empty where it can.

        The answer is kept in the environment, so that pytest-xdist's workers need not knock again.
        """
        kept = json.loads(os.environ.get(f"{self.variable}_PROBED", "{}"))
        if self.url not in kept:
            kept[self.url] = self._knock()
            os.environ[f"{self.variable}_PROBED"] = json.dumps(kept)
        return str(kept[self.url])

    def _knock(self) -> str:
        if not self.url:
            return f"{self.name} is missing: {self.variable} forbids it. {self.how_to_start} {BOTH}"
        try:
            self.probe(self.url)
        except (psycopg.Error, AMQPError, OSError, ValueError) as error:
            why = str(error).strip() or repr(error)
            return f"{self.name} is missing at {self.url} ({why}). {self.how_to_start} {BOTH}"
        return ""


def connect_to_broker(url: str) -> pika.BlockingConnection:
    """A connection of one's own; gives up after two seconds."""
    logging.getLogger("pika").setLevel(logging.CRITICAL)  # ten lines for a refused connection
    parameters = pika.URLParameters(url)
    parameters.socket_timeout = PROBE_SECONDS
    parameters.stack_timeout = PROBE_SECONDS
    return pika.BlockingConnection(parameters)


def _probe_database(url: str) -> None:
    psycopg.connect(url, connect_timeout=PROBE_SECONDS).close()


def _probe_broker(url: str) -> None:
    connect_to_broker(url).close()


POSTGRESQL = Service(
    "PostgreSQL",
    "TEST_DATABASE_URL",
    "postgres://root@127.0.0.1:5432/postgres",
    "Start one, or name another with TEST_DATABASE_URL; its role must be able to create databases.",
    _probe_database,
)
RABBITMQ = Service(
    "RabbitMQ",
    "TEST_RABBITMQ_URL",
    "amqp://guest:guest@127.0.0.1:5672/%2F",
    "Start one, or name another with TEST_RABBITMQ_URL.",
    _probe_broker,
)


def without_house(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what configures a house."""
    settings = (
        "DATABASE_URL",
        "RABBITMQ_URL",
        "PIZZAHOUSE_",
        "DJANGO_",
        "LOG_",
        "DRAMATIQ_",
        "dramatiq_",
        "OTEL_",
        "PROMETHEUS_",
    )
    return {name: value for name, value in environment.items() if not name.startswith(settings)}


# --- One's own ------------------------------------------------------------------------------------


class OwnServer(ABC):
    """A server in a temporary folder, on a port that it keeps over restarts."""

    stop_signal = signal.SIGTERM
    user: str | None = None

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pizzahouse-test-"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it is reached while it runs."""

    @abstractmethod
    def _command(self) -> list[str]: ...

    @abstractmethod
    def _knock(self) -> None:
        """Connect; raises where it is not ready yet."""

    def _environment(self) -> Mapping[str, str]:
        return os.environ

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> Self:
        """Start it, again after a stop or a kill, and return once it answers."""
        if not self.running:
            self.process = self._spawn(self._command())
            wait_until(self._is_ready, START_SECONDS, f"{self} answers; see {self.folder}/log")
        return self

    def stop(self) -> None:
        """Have it shut down in order, and return once it has."""
        if self.process is not None:
            self.process.send_signal(self.stop_signal)
            self.process.wait(START_SECONDS)

    def kill(self) -> None:
        """SIGKILL, to it and to its children; what it wrote stays for the next start."""
        if self.process is not None:
            kill_group(self.process)

    def close(self) -> None:
        """Kill it and remove all it wrote."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _spawn(self, command: list[str]) -> "subprocess.Popen[bytes]":
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self._environment(),
                start_new_session=True,
                **self._identity(),
            )

    def _identity(self) -> dict[str, Any]:
        return {"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}

    def _is_ready(self) -> bool:
        if not self.running:
            log = (self.folder / "log").read_text(errors="replace")
            raise Unavailable(f"{self} ended at its start:\n{log[-2000:]}")
        try:
            self._knock()
        except (psycopg.Error, AMQPError, OSError):
            return False
        return True

    def __str__(self) -> str:
        return f"{type(self).__name__} on port {self.port}"


class OwnPostgres(OwnServer):
    """A PostgreSQL of one's own; root runs it as the user postgres, since it refuses root."""

    stop_signal = signal.SIGINT  # the fast shutdown, which does not wait for clients

    def __init__(self) -> None:
        self.programs = _postgres_programs()
        super().__init__()
        if os.geteuid() == 0:
            self.user = "postgres"
            shutil.chown(self.folder, "postgres", "postgres")
        options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"]
        subprocess.run(
            [self.programs / "initdb", *options, "--no-sync", self.folder / "data"],
            check=True,
            capture_output=True,
            cwd=self.folder,
            **self._identity(),
        )

    @property
    def url(self) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def _command(self) -> list[str]:
        # Without fsync (-F) a killed server still loses nothing: the operating system lives on.
        options = [
            "-D",
            "data",
            "-p",
            str(self.port),
            "-h",
            "127.0.0.1",
            "-k",
            str(self.folder),
            "-F",
        ]
        return [str(self.programs / "postgres"), *options]

    def _knock(self) -> None:
        _probe_database(self.url)


def _postgres_programs() -> Path:
    program = _newest("/usr/lib/postgresql/*/bin/initdb") or shutil.which("initdb")
    if program is None:
        raise Unavailable("PostgreSQL's server programs (initdb, postgres) are not installed here.")
    return Path(program).parent


def _newest(pattern: str) -> Path | None:
    return max(Path("/").glob(pattern.lstrip("/")), default=None)


class OwnRabbit(OwnServer):
    """A RabbitMQ node of one's own, without plugins, with its own epmd (Erlang's port mapper)."""

    def __init__(self) -> None:
        self.programs = _rabbitmq_programs()
        super().__init__()
        self.node = f"pizzahouse-{self.port}@localhost"
        self.distribution_port, self.epmd_port = free_port(), free_port()
        self.epmd: subprocess.Popen[bytes] | None = None
        (self.folder / "enabled_plugins").write_text("[].\n")

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"

    def start(self) -> Self:
        if self.epmd is None:
            self.epmd = self._spawn(["epmd", "-port", str(self.epmd_port), "-address", "127.0.0.1"])
        return super().start()

    def close(self) -> None:
        if self.epmd is not None:
            kill_group(self.epmd)
        super().close()

    def close_all_connections(self, reason: str) -> None:
        """Have the broker close every client's connection, as an operator would."""
        self.control("close_all_connections", "--global", reason)

    def control(self, *command: str) -> str:
        """Run rabbitmqctl against this node; returns what it prints."""
        done = subprocess.run(
            [self.programs / "rabbitmqctl", "--quiet", *command],
            env=self._environment(),
            check=True,
            timeout=30,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def _command(self) -> list[str]:
        return [str(self.programs / "rabbitmq-server")]

    def _environment(self) -> Mapping[str, str]:
        foreign = ("RABBITMQ_", "ERL_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return kept | {
            "HOME": str(self.folder),  # for Erlang's cookie
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_FLAGS": f"-kernel inet_dist_use_interface {{127,0,0,1}} -pa {self._code_first()}",
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_LOG": "warning",
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            # So the script replaces itself by Erlang, and our child is the node itself.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def _code_first(self) -> str:
        # Erlang seeks each module in a hundred folders; with these first it starts in 5 s, not 8.
        apps = ("rabbit", "rabbit_common", "rabbitmq_prelaunch", "ra", "osiris")
        plugins = self.programs.parent / "plugins"
        return " ".join(str(path) for app in apps for path in plugins.glob(f"{app}-[0-9]*/ebin"))

    def _knock(self) -> None:
        _probe_broker(self.url)


def _rabbitmq_programs() -> Path:
    # Debian's /usr/sbin/rabbitmq-server changes the user and hides the node behind two shells.
    found = _newest("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server")
    program = found or shutil.which("rabbitmq-server")
    if program is None or shutil.which("epmd") is None:
        raise Unavailable("RabbitMQ's programs (rabbitmq-server, epmd) are not installed here.")
    return Path(program).parent


# --- Ports and processes --------------------------------------------------------------------------


def free_port() -> int:
    """A port nobody listens on, below those the kernel hands to clients: a client that seeks a
    stopped server on one of those can end up connected to itself, and keep the port."""
    chance = random.SystemRandom()  # pytest-randomly seeds the common one alike in every process
    while True:
        port = chance.randrange(20_000, 32_000)
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def group_members(group: int) -> list[int]:
    """The ids of all live processes of a process group, its leader first."""
    found = [process for process, _parent, its_group in _processes() if its_group == group]
    return sorted(found, key=lambda process: process != group)


def _processes() -> Iterator[tuple[int, int, int]]:
    """Each live process: its id, its parent's and its group's."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, group = status.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue  # it has just ended
        if state not in "ZX":
            yield int(status.parent.name), int(parent), int(group)


def kill_group(leader: "subprocess.Popen[Any]") -> None:
    """SIGKILL to a process that leads a group, and to its children by their ids; returns when all
    have ended. PostgreSQL's children have groups of their own: those are known by their parent."""
    children = set()
    if leader.poll() is None:
        children = {process for process, parent, _group in _processes() if parent == leader.pid}

    def gone() -> bool:
        alive = {process for process, _parent, _group in _processes()}
        left = [*group_members(leader.pid), *(children & alive)]
        for process in left:
            _kill(process)
        return leader.poll() is not None and not left

    wait_until(gone, 20, f"the processes of group {leader.pid} end")


def _kill(process: int) -> None:
    with suppress(ProcessLookupError):  # it has just ended by itself
        os.kill(process, signal.SIGKILL)
