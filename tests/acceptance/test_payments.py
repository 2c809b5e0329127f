"""Remote payments over HTTP: a real web server beside real workers, and a service that calls and calls."""

import hmac
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.conftest import refuse
from tests.house import PROJECT, House, Running
from tests.servers import free_port, wait_until

SECRET = "a secret of the tests"
REMOTE = {"PIZZAHOUSE_PAYMENT": "remote", "PIZZAHOUSE_PAYMENT_SECRET": SECRET}
TABLES = 40
CALLS = 200
AT_ONCE = 25
PATIENCE = 90.0  # seconds; two cores serve all of this
ANSWER_SECONDS = 60.0

SEAT = """
from django.db import transaction
from orders.contracts import StartTableService
from orders.table_service import TableService
for n in range({tables}):
    with transaction.atomic():
        TableService.begin(StartTableService(table=f"TBL{{n}}"))
"""
HAND_OUT_BILLS = """
from uuid import uuid4
from django.db import transaction
from pizzahouse.messaging import outbox
from waiter.contracts import ShowBill
for n in range({bills}):
    with transaction.atomic():
        outbox.put(ShowBill("BAR", {{"EUR": 300}}), saga=uuid4(), reply_to="orders.table_service")
"""


@dataclass(frozen=True)
class Answer:
    """What the house answered to a call."""

    status: int
    said: dict[str, Any]


class Web(Running):
    """gunicorn, on a port of its own."""

    port = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answers(self) -> bool:
        assert self.runs, f"gunicorn ended at its start: {self}"
        try:
            return self.request("GET", f"/waiter/bills/{uuid4()}/payments").status == 405
        except OSError:
            return False

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Call, and read the answer, which must be JSON."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # it need not read all before it answers
                connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, json.loads(response.read()))
        finally:
            connection.close()

    def tell(self, bill: UUID, payment: str, amounts: dict[str, int], *, chunked: bool = False) -> Answer:
        """Tell that a bill was paid."""
        body = json.dumps({"bill": str(bill), "payment": payment, "amounts": amounts}).encode()
        return self.send(bill, iter([body]) if chunked else body, signed(body))

    def send(self, bill: UUID, body: Any, headers: dict[str, str]) -> Answer:
        """Send this body; one that comes in pieces is sent without its length."""
        return self.request("POST", f"/waiter/bills/{bill}/payments", body, headers)


def signed(body: bytes) -> dict[str, str]:
    """The headers of a body that is sent now."""
    timestamp = str(int(time.time()))
    signature = hmac.new(SECRET.encode(), f"{timestamp}.".encode() + body, "sha256").hexdigest()
    return {"Pizzahouse-Timestamp": timestamp, "Pizzahouse-Signature": signature}


def start_web(house: House, **variables: str) -> Web:
    """Start gunicorn as docs/payments.md does; the house kills it when it closes."""
    port = free_port()
    options = ["--bind", f"127.0.0.1:{port}", "--workers", "2", "--threads", "4", "--no-control-socket"]
    output, errors = house.folder / f"web-{port}.out", house.folder / f"web-{port}.err"
    with output.open("wb") as stdout, errors.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "pizzahouse.wsgi", *options],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=PROJECT,
            env=house.environment | variables,
            start_new_session=True,
        )
    web = Web("gunicorn pizzahouse.wsgi " + " ".join(options), process, output, errors)
    web.port = port
    house.running.append(web)
    wait_until(web.answers, PATIENCE, "gunicorn answers")
    return web


@pytest.fixture
def remote_house(house: House) -> House:
    """A house with workers, that waits for a payment service."""
    house.variables = REMOTE
    house.workers()
    return house


def bills_that_ask(house: House, count: int) -> dict[UUID, dict[str, int]]:
    """Wait until so many bills are shown; their amounts, by id."""
    sql = "SELECT id, amounts FROM waiter_bill WHERE asks"
    house.wait_until(lambda: len(house.query(sql)) == count, PATIENCE, f"{count} bills are shown")
    return {row["id"]: row["amounts"] for row in house.query(sql)}


def till(house: House) -> dict[str, int]:
    return {row["currency"]: row["amount"] for row in house.query("SELECT currency, amount FROM waiter_till")}


def at_once(calls: list[Callable[[], Answer]], threads: int) -> list[Answer]:
    """What was answered to these calls, made by so many threads."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda call: call(), calls))


def together(*calls: Callable[[], Answer]) -> list[Answer]:
    """What was answered to these calls, all made at the same moment."""
    start = Barrier(len(calls), timeout=ANSWER_SECONDS)

    def make(call: Callable[[], Answer]) -> Answer:
        start.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(make, calls))


# --- Many at once ---------------------------------------------------------------------------------


@pytest.mark.timeout(400)
def test_forty_tables_are_paid_once_each_by_two_hundred_calls(remote_house: House) -> None:
    house = remote_house
    house.manage("shell", "-c", SEAT.format(tables=TABLES))
    house.wait_until(lambda: house.all_sagas("billing", TABLES), PATIENCE, "all wait for their payment")
    bills = bills_that_ask(house, TABLES)
    web = start_web(house)

    told = [*bills.items()] * (CALLS // TABLES)
    half = CALLS // 2
    told = [*sorted(told[:half], key=str), *told[half:]]  # first twins at the same moment, then stragglers
    calls = [partial(web.tell, bill, f"psp-{bill}", amounts) for bill, amounts in told]
    answers = at_once(calls, AT_ONCE)

    assert Counter(answer.status for answer in answers) == {201: TABLES, 200: CALLS - TABLES}
    first = [answer.said["bill"] for answer in answers if answer.status == 201]
    assert sorted(first) == sorted(str(bill) for bill in bills)
    house.wait_until(lambda: house.all_sagas("closed", TABLES), PATIENCE, "all tables are closed")
    assert sum(amounts["EUR"] for amounts in bills.values()) == TABLES * 12400
    assert till(house) == {"EUR": TABLES * 12400}
    assert house.query("SELECT bill_id FROM waiter_payment WHERE NOT accepted") == []
    assert {row["bill_id"] for row in house.query("SELECT bill_id FROM waiter_payment")} == bills.keys()
    assert house.query("SELECT id FROM waiter_bill WHERE asks OR paid_at IS NULL") == []
    assert [sent["BillPaid"] for sent in house.messages().values()] == [1] * TABLES
    assert house.handled().keys() == {"done"}


@pytest.mark.timeout(300)
def test_calls_that_meet_are_told_apart(remote_house: House) -> None:
    house, pairs = remote_house, 12
    house.manage("shell", "-c", HAND_OUT_BILLS.format(bills=3 * pairs))
    bills = [*bills_that_ask(house, 3 * pairs)]
    web, price = start_web(house), {"EUR": 300}

    for number in range(pairs):
        one, two, three = (bills.pop() for _ in range(3))
        payment = f"psp-{number}"
        answers = together(partial(web.tell, one, payment, price), partial(web.tell, two, payment, price))
        assert sorted(answer.status for answer in answers) == [201, 409], "two bills, one payment"
        answers = together(*(partial(web.tell, three, f"{payment}-{n}", price) for n in range(3)))
        assert sorted(answer.status for answer in answers) == [201, 409, 409], "one bill, three payments"
        [paid] = [answer.said["payment"] for answer in answers if answer.status == 201]
        assert all(f"'{paid}'" in answer.said["error"] for answer in answers if answer.status == 409)

    assert till(house) == {"EUR": 2 * pairs * 300}
    assert len(house.query("SELECT id FROM waiter_bill WHERE paid_at IS NOT NULL")) == 2 * pairs


# --- What a web server makes of it ----------------------------------------------------------------


def test_a_body_may_come_in_pieces_and_a_large_one_is_not_read(remote_house: House) -> None:
    house = remote_house
    house.manage("shell", "-c", HAND_OUT_BILLS.format(bills=1))
    [(bill, amounts)] = bills_that_ask(house, 1).items()
    web = start_web(house)

    large = [b"x" * 1024] * 17
    assert web.send(bill, iter(large), signed(b"".join(large))).status == 413
    assert web.send(bill, b"".join(large), signed(b"".join(large))).status == 413
    assert web.send(bill, b"\xff\0" * 100, signed(b"\xff\0" * 100)).status == 400
    assert web.tell(bill, "psp-1", amounts, chunked=True).status == 201
    assert web.tell(bill, "psp-1", amounts).status == 200
    assert "Traceback" not in web.stderr


@pytest.mark.without_servers
def test_without_its_database_the_house_has_the_payment_sent_again(embedded_house: House) -> None:
    nowhere = f"postgres://root@127.0.0.1:{free_port()}/nowhere"
    web = start_web(embedded_house, DATABASE_URL=nowhere, **REMOTE)
    answer = web.tell(uuid4(), "psp-1", {"EUR": 300})
    assert answer.status == 503
    assert "send the same payment again" in answer.said["error"]
    assert "Traceback" not in web.stderr


def test_the_example_of_the_page_pays_a_bill(remote_house: House) -> None:
    missing = [program for program in ("bash", "openssl", "curl") if shutil.which(program) is None]
    if missing:
        refuse(f"{', '.join(missing)} is not installed, and docs/payments.md's example needs it.")
    house = remote_house
    saga = house.manage_json("serve_table", "TBL1", "--detach")["saga"]
    [bill] = bills_that_ask(house, 1)
    web = start_web(house)
    named = {"HOUSE": web.address, "BILL": str(bill), "PIZZAHOUSE_PAYMENT_SECRET": SECRET}

    ran = [run_example(house.folder, named) for _ in range(2)]

    taken = {"bill": str(bill), "payment": "psp-4711", "status": "paid"}
    assert [json.loads(said) for said in ran] == [taken, taken]
    house.wait_until(lambda: house.saga(saga)["state"] == "closed", PATIENCE, "the table is closed")
    assert till(house) == {"EUR": 12400}


def run_example(folder: Path, variables: dict[str, str]) -> str:
    """Run the page's one block of shell commands; returns what it prints."""
    page = (PROJECT / "docs" / "payments.md").read_text()
    [example] = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"\$([A-Z_]+)", example)) == variables.keys()
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", example],
        cwd=folder,
        env={"PATH": os.environ["PATH"]} | variables,
        capture_output=True,
        text=True,
        timeout=ANSWER_SECONDS,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, ""), ran
    return ran.stdout
