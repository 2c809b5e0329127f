"""A human guest at a terminal, from the menu to the bill."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.house import PROJECT, House
from tests.servers import kill_group

pytestmark = pytest.mark.without_servers
TERMINAL = {"TERM": "xterm-256color", "PIZZAHOUSE_PACE": "0.2", "LOG_LEVEL": "WARNING"}
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A command at a pseudo-terminal: what it shows can be waited for, and answered by typing."""

    def __init__(self, house: House, *arguments: str) -> None:
        self.screen, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 130, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            stdin=inside,
            stdout=inside,
            stderr=inside,
            cwd=PROJECT,
            env=house.environment | TERMINAL,
            start_new_session=True,
        )
        os.close(inside)
        self.shown = ""
        self.read_to = 0

    def wait_for(self, text: str, seconds: float = 30.0) -> None:
        """Return once this is shown after what was waited for before."""
        deadline = time.monotonic() + seconds
        while text not in self.shown[self.read_to :]:
            assert time.monotonic() < deadline, f"not shown: {text!r}\n{self.shown[-3000:]}"
            self._read()
        self.read_to = self.shown.index(text, self.read_to) + len(text)

    def _read(self) -> None:
        if select.select([self.screen], [], [], 0.1)[0]:
            with suppress(OSError):  # it has ended
                new = os.read(self.screen, 65536).decode(errors="replace")
                if "\x1b[6n" in new:  # it asks where the cursor is
                    self.type("\x1b[1;1R")
                self.shown += CONTROL.sub("", new)

    def type(self, text: str) -> None:
        os.write(self.screen, text.encode())

    def end(self) -> int:
        """Its exit code, once it has ended."""
        deadline = time.monotonic() + 30
        while self.process.poll() is None and time.monotonic() < deadline:
            self._read()
        return self.process.wait(1)

    def close(self) -> None:
        kill_group(self.process)
        os.close(self.screen)


@pytest.fixture
def guest(embedded_house: House) -> Iterator[Terminal]:
    terminal = Terminal(embedded_house, "serve_table", "TBL1", "--interactive")
    yield terminal
    terminal.close()


def test_a_guest_reads_the_menu_orders_sees_the_pizzas_come_and_pays(
    guest: Terminal, embedded_house: House
) -> None:
    guest.wait_for("Pizza Amatriciana")
    guest.wait_for("What would you like?")
    guest.type("2 x nonesuch xl\r")
    guest.wait_for("The menu has no nonesuch xl")  # a second chance
    guest.type("\x15")  # Ctrl-U clears the line
    guest.type("1 x pvege xx")
    guest.wait_for("pvege xxl")  # offered
    guest.type("\t\r")
    guest.wait_for("guests   order 1 × pvege xxl")
    guest.wait_for("a pizza is done (1 of 1)")
    guest.wait_for("brings the bill")
    guest.wait_for("Pay 31.00 EUR?")
    guest.type("perhaps\r")
    guest.wait_for("yes or no")
    guest.type("\x15no\r")
    guest.wait_for("the card is declined")
    guest.wait_for("Pay 31.00 EUR?")
    guest.type("yes\r")
    guest.wait_for("sees them to the door")
    assert guest.end() == 0
    assert embedded_house.query("SELECT amount FROM waiter_till") == [{"amount": 3100}]
    assert embedded_house.query("SELECT shown FROM waiter_bill") == [{"shown": 2}]


def test_a_guest_may_leave_instead(guest: Terminal, embedded_house: House) -> None:
    guest.wait_for("What would you like?")
    guest.type("leave\r")
    guest.wait_for("guests   leave")
    assert guest.end() == 5
    assert embedded_house.states() == {"called_off": 1}


def test_a_guest_who_goes_away_leaves_the_question_open(guest: Terminal, embedded_house: House) -> None:
    guest.wait_for("What would you like?")
    guest.type("\x03")
    guest.wait_for("the table is still served")
    assert guest.end() == 130
    [question] = embedded_house.query("SELECT answered_at FROM waiter_question")
    assert question == {"answered_at": None}
    assert embedded_house.states() == {"ordering": 1}
