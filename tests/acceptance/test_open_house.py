"""`manage.py open_house`: everything in one process, and somebody who looks around in it."""

import re
import urllib.request
from dataclasses import dataclass, field
from html import unescape
from http.cookiejar import CookieJar
from sqlite3 import OperationalError
from typing import Self
from urllib.parse import urlencode, urljoin

import pytest

from tests.house import House, Running
from tests.servers import free_port, wait_until

FAST = {"PIZZAHOUSE_MAX_ATTEMPTS": "2", "PIZZAHOUSE_RETRY_SECONDS": "0.05"}
PROCESSES = "/admin/office/process/"
ROUND = 14
# What the guests of the first round come to, as soon as nothing goes on by itself any more.
STANDING = {"closed": 10, "needs_manager": 1, "baking": 1, "ordering": 1, "called_off": 1}


@dataclass
class Visitor:
    """Somebody with a browser, at a house that is open."""

    running: Running
    address: str = ""
    password: str = ""
    cookies: CookieJar = field(default_factory=CookieJar)

    def __post_init__(self) -> None:
        processor = urllib.request.HTTPCookieProcessor(self.cookies)
        self.opener = urllib.request.build_opener(processor, urllib.request.ProxyHandler({}))

    def arrive(self) -> Self:
        """Once the house says where it is."""
        wait_until(self._is_told, 60, f"the house is open: {self.running}")
        return self

    def _is_told(self) -> bool:
        assert self.running.runs, str(self.running)
        told = re.search(
            r"open: (http://[^/]+)/\S+\n\s+user\s+manager\n\s+password\s+(\S+)", self.running.stdout
        )
        if told:
            self.address, self.password = told.groups()
        return told is not None

    def get(self, path: str, data: dict[str, str] | None = None) -> str:
        """A page, after what it leads to; data: what is sent with it, as from its form."""
        body = urlencode(data | {"csrfmiddlewaretoken": self._token()}).encode() if data else None
        with self.opener.open(urljoin(self.address, path), body, timeout=30) as response:
            self.path: str = response.url.removeprefix(self.address)
            text: str = response.read().decode()
            return text

    def _token(self) -> str:
        return next(cookie.value or "" for cookie in self.cookies if cookie.name == "csrftoken")

    def log_in(self, password: str = "") -> str:
        """With what was printed; returns the page that it leads to."""
        self.get(PROCESSES)
        assert self.path.startswith("/admin/login/")
        who = {"username": "manager", "password": password or self.password, "next": PROCESSES}
        return self.get("/admin/login/", who)


def opened(house: House, *arguments: str, env: dict[str, str] | None = None) -> Visitor:
    return Visitor(house.start("open_house", "--port", "0", *arguments, env=FAST | (env or {}))).arrive()


def states(house: House) -> dict[str, int]:
    """How many processes of both scenarios there are in each state; none while the database is made."""
    sql = "SELECT state, count(*) AS n FROM {} GROUP BY state"
    found: dict[str, int] = {}
    try:
        for table in ("orders_tableservice", "orders_simpleserving"):
            for row in house.query(sql.format(table)):
                found[row["state"]] = found.get(row["state"], 0) + row["n"]
    except OperationalError:
        return {}
    return found


def saga_of(house: House, table: str) -> str:
    [saga] = [each["saga"] for each in house.sagas() if each["table"] == table]
    return str(saga)


@pytest.fixture
def visitor(embedded_house: House) -> Visitor:
    """Somebody in an embedded house, whose first round of guests has come as far as it comes by itself."""
    visitor = opened(embedded_house, "--tables", str(ROUND))
    embedded_house.wait_until(lambda: states(embedded_house) == STANDING, 60, "the guests are served")
    return visitor


@pytest.mark.without_servers
def test_somebody_logs_in_with_what_is_printed_and_sees_processes(visitor: Visitor) -> None:
    page = visitor.log_in()
    assert visitor.path == PROCESSES
    shown = set(re.findall(r"PARTY\d+", page))
    assert shown == {f"PARTY{number}" for number in range(1, ROUND + 1)}
    for state in STANDING:
        assert state.replace("_", " ") in page
    assert "the oven is too cold for pfngh" in page

    styles = re.findall(r'<link[^>]*href="([^"]+\.css)"', page)
    assert any("unfold" in style for style in styles)
    assert all(visitor.get(unescape(style)) for style in styles)


@pytest.mark.without_servers
def test_what_the_manager_does_wakes_the_workers_of_the_same_process(
    visitor: Visitor, embedded_house: House
) -> None:
    visitor.log_in()
    saga = saga_of(embedded_house, "PARTY2")
    mend = f"{PROCESSES}{saga}/mend/try_again/"
    visitor.get(mend)
    visitor.get(mend, {"do": "1", "reason": "another card"})
    assert visitor.path == f"{PROCESSES}{saga}/change/"
    after = STANDING | {"closed": STANDING["closed"] + 1}
    del after["needs_manager"]
    embedded_house.wait_until(lambda: states(embedded_house) == after, 30, "they have paid")


@pytest.mark.without_servers
def test_ctrl_c_closes_it_and_the_next_start_goes_on(embedded_house: House) -> None:
    house = embedded_house
    first = opened(house, "--tables", str(ROUND), env={"PIZZAHOUSE_PACE": "6"})
    house.wait_until(lambda: sum(states(house).values()) == ROUND, 60, "all have come")
    first.running.interrupt()
    ran = first.running.finish(20)
    assert ran.code == 0
    assert "goes on when it opens again" in ran.stderr
    assert states(house) != STANDING

    second = opened(house, "--tables", "0")
    house.wait_until(lambda: states(house) == STANDING, 60, "they are served, and nobody else")
    assert second.password != first.password
    second.log_in(first.password)
    assert second.path.startswith("/admin/login/")
    second.log_in()
    assert second.path == PROCESSES


@pytest.mark.without_servers
def test_a_killed_house_goes_on_counting(embedded_house: House) -> None:
    first = opened(embedded_house, "--tables", "2")
    embedded_house.wait_until(lambda: sum(states(embedded_house).values()) == 2, 30, "two have come")
    first.running.kill()
    opened(embedded_house, "--tables", "2", "--busy")
    embedded_house.wait_until(lambda: sum(states(embedded_house).values()) == 4, 30, "two more have come")
    tables = {each["table"] for each in embedded_house.sagas()}
    assert tables == {"PARTY1", "PARTY2", "PARTY3", "PARTY4"}


@pytest.mark.without_servers
@pytest.mark.parametrize(
    ("env", "otherwise"),
    [
        ({"DJANGO_DEBUG": "false"}, "DJANGO_DEBUG=true"),
        ({"DJANGO_HTTPS": "true", "DJANGO_DEBUG": "true"}, "DJANGO_HTTPS=false DJANGO_DEBUG=true"),
    ],
    ids=["no debugging", "https"],
)
def test_it_is_refused_in_production(embedded_house: House, env: dict[str, str], otherwise: str) -> None:
    ran = embedded_house.manage("open_house", check=False, env=env)
    assert ran.code == 1
    assert "not for production" in ran.stderr
    assert f"try out: {otherwise} manage.py open_house" in ran.stderr
    assert ran.stdout == ""
    assert states(embedded_house) == {}


@pytest.mark.without_servers
def test_a_port_that_is_taken_is_refused(embedded_house: House) -> None:
    port = str(free_port())
    Visitor(embedded_house.start("open_house", "--port", port, "--tables", "0")).arrive()
    ran = embedded_house.manage("open_house", "--port", port, check=False)
    assert ran.code == 1
    assert f"Port {port} of 127.0.0.1 is taken" in ran.stderr
    assert "--port" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_configured_house_needs_to_be_one_for_debugging(house: House) -> None:
    ran = house.manage("open_house", check=False)
    assert ran.code == 1
    assert "DJANGO_DEBUG" in ran.stderr

    visitor = opened(house, "--tables", str(ROUND), env={"DJANGO_DEBUG": "true"})
    house.wait_until(lambda: states(house) == STANDING, 60, "the guests are served")
    assert "PARTY1" in visitor.log_in()
    visitor.running.interrupt()
    assert visitor.running.finish(20).code == 0
