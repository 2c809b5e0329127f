"""A house as its guests and its manager meet it: workers, a web server, a door, and troubles to order."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import psycopg

from tests.browser import troubles
from tests.browser.page import PATIENCE
from tests.house import PROJECT, House, Running
from tests.servers import free_port, wait_until

PASSWORD = "basil and mozzarella"
MANAGER, VIEWER = "manager", "viewer"
MAY_VIEW = (
    "office.view_process",
    "office.view_mending",
    "messaging.view_inboxmessage",
    "messaging.view_outboxmessage",
)
Wish = Sequence[tuple[int, str, str]]  # how many, of what, how large
FUNGHI = (1, "pfngh", "xl")
MARGHERITA = (1, "pmghr", "xl")


class Restaurant:
    """A house that runs, and whom and what tests send into it."""

    def __init__(self, house: House, **variables: str) -> None:
        self.house = house
        self.port = free_port()
        self.sessions: dict[str, str] = {}  # of those who have logged in, by their names
        self.address = f"http://127.0.0.1:{self.port}"
        house.variables |= {
            "DJANGO_SETTINGS_MODULE": "tests.browser.settings",
            "DJANGO_SECRET_KEY": "the web server's processes share it",
            "PIZZAHOUSE_MAX_ATTEMPTS": "2",
            "PIZZAHOUSE_RETRY_SECONDS": "0.05",
            **variables,
        }

    def open(self) -> Self:
        """Start all of it, and let the manager in, and somebody who may only look."""
        self.house.query(troubles.TABLE)
        workers = self.house.workers(threads=6, wait=False)
        self._start("gunicorn", "pizzahouse.wsgi", "--workers", "1", "--threads", "4", *self._where())
        self.door = self._start("tests.browser.door")
        self._ask("hire", name=MANAGER, password=PASSWORD, permissions=None)
        self._ask("hire", name=VIEWER, password=PASSWORD, permissions=MAY_VIEW)
        workers.wait_until_ready(1)
        wait_until(self._answers, PATIENCE, "the web server answers")
        return self

    def _where(self) -> tuple[str, ...]:
        return ("--bind", f"127.0.0.1:{self.port}", "--no-control-socket")

    def _start(self, module: str, *arguments: str) -> "subprocess.Popen[bytes]":
        output, errors = self.house.folder / f"{module}.out", self.house.folder / f"{module}.err"
        pipes = module == "tests.browser.door"
        with output.open("wb") as stdout, errors.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes else stdout,
                stderr=stderr,
                cwd=PROJECT,
                env=self.house.environment,
                start_new_session=True,
            )
        self.house.running.append(Running(module, process, output, errors))
        return process

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/healthz", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def _ask(self, what: str, **more: Any) -> Any:
        assert self.door.stdin
        assert self.door.stdout
        self.door.stdin.write(json.dumps({"do": what, **more}).encode() + b"\n")
        self.door.stdin.flush()
        answer = self.door.stdout.readline()
        assert answer, f"the door is shut: {self.house.report()}"
        return json.loads(answer)

    # --- Guests -----------------------------------------------------------------------------------

    def seat(
        self, *tables: str, wish: Wish = (MARGHERITA,), troubles: Sequence[str] = (), in_person: bool = False
    ) -> list[str]:
        """A party at each of these tables; returns the ids of their processes."""
        more = {"wish": wish, "troubles": troubles, "in_person": in_person}
        seated: list[str] = self._ask("seat", tables=tables, **more)
        return seated

    def seat_one(self, table: str, wish: Wish = (MARGHERITA,), troubles: Sequence[str] = ()) -> str:
        """A party at this table; returns the id of its process."""
        [saga] = self.seat(table, wish=wish, troubles=troubles)
        return saga

    def with_dead_letters(self, *tables: str, wish: tuple[int, str, str] = FUNGHI) -> list[str]:
        """Parties whose pizza cannot be baked; returns the ids of their processes once each has a dead
        DoPizza."""
        sagas = self.seat(*tables, wish=[wish], troubles=[wish[1]])
        dead = "SELECT saga_id FROM messaging_inboxmessage WHERE status = 'dead' AND saga_id = ANY(%s)"
        self.house.wait_until(
            lambda: len(self.house.query(dead, [sagas])) == len(sagas), PATIENCE, "each has a dead letter"
        )
        return sagas

    def with_declined_card(self, table: str) -> str:
        """A party whose card is declined; returns the id of its process once it needs the manager."""
        saga = self.seat_one(table, troubles=[troubles.CARD])
        self.wait_until_state(saga, "needs_manager")
        return saga

    # --- Troubles ---------------------------------------------------------------------------------

    def mend(self, *sagas: str) -> None:
        """Take their troubles away."""
        with self.mending(*sagas):
            pass

    @contextmanager
    def mending(self, *sagas: str) -> Iterator[None]:
        """Their troubles are being taken away: what meets them waits until this is over, and then is well."""
        with psycopg.connect(self.house.database_url) as connection:
            connection.execute(troubles.MEND, [list(sagas)])
            yield

    # --- How things stand -------------------------------------------------------------------------

    def state(self, saga: str) -> str:
        """Of a process; empty where it has not begun."""
        rows = self.house.query("SELECT state FROM orders_tableservice WHERE id = %s", [saga])
        return str(rows[0]["state"]) if rows else ""

    def wait_until_state(self, saga: str, state: str) -> None:
        """Until a process is so far."""
        self.house.wait_until(lambda: self.state(saga) == state, PATIENCE, f"{saga} is {state}")

    def traces(self, *sagas: str) -> list[Any]:
        """Whatever mending these would write, and whether anything is mended at all."""
        these = (
            "SELECT id, state, version FROM orders_tableservice WHERE id::text = ANY(%s) ORDER BY id",
            "SELECT id FROM messaging_outboxmessage WHERE saga_id::text = ANY(%s) ORDER BY id",
            "SELECT id, status, attempts FROM messaging_inboxmessage"
            " WHERE saga_id::text = ANY(%s) ORDER BY id",
            "SELECT id FROM django_admin_log WHERE object_id = ANY(%s) ORDER BY id",
        )
        any_at_all = ("SELECT count(*) FROM office_mending", "SELECT count(*) FROM office_mended")
        found = [self.house.query(sql, [list(sagas)]) for sql in these]
        return found + [self.house.query(sql) for sql in any_at_all]
