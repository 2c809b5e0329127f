"""A mending of many outlives the workers it runs in: no process is left out, none is mended twice, and what
died with a worker is told as failed again."""

import random

import pytest

from tests.acceptance.test_failures import COLD_OVEN, MEND
from tests.conftest import OpenHouse
from tests.house import House

TABLES = 24
SEAT = f"""
from django.db import transaction
from orders.contracts import StartTableService
from orders.table_service import TableService
from waiter.contracts import Wish
with transaction.atomic():
    for number in range({TABLES}):
        TableService.begin(StartTableService(f"TBL{{number}}", (Wish(1, "pfngh", "xl"),)))
"""
RETRY = """
from django.contrib.auth.models import User
from orders.office import mendings, scope
from orders.office.models import Process
chef, _new = User.objects.get_or_create(username="chef", is_superuser=True)
rows = Process.objects.filter(finished_at=None).values_list("pk", "table")
mending = mendings.prepare("retry", scope.processes(rows), chef, "all that run")
assert mendings.begin(mending, chef, "the oven is warm")
"""
GO_ON = """
from django.contrib.auth.models import User
from orders.office import mendings
from orders.office.models import Mending
mendings.resume(Mending.objects.latest("id"), User.objects.get(username="chef"))
"""


@pytest.fixture
def cold_house(open_house: OpenHouse) -> House:
    """A house in which each table waits for a dead DoPizza, and the oven is warm again."""
    house = open_house()
    house.variables |= {"PIZZAHOUSE_MAX_ATTEMPTS": "1"}
    house.query(COLD_OVEN.format(failures=1_000_000))
    workers = house.workers()
    house.manage("shell", "-c", SEAT)
    house.wait_until(lambda: house.handled().get("dead") == TABLES, 60, "all messages are dead")
    assert workers.stop() == 0
    house.query(MEND)
    return house


def test_a_mending_whose_workers_are_killed_mends_each_process_once(cold_house: House) -> None:
    house, chance = cold_house, random.Random(4)
    house.manage("shell", "-c", RETRY)
    for least in (1, 8):
        workers = house.workers()
        house.wait_until(
            lambda least=least: count(house, "recovered") >= least or newest(house) == "halted",
            60,
            "some have recovered, or one has died with a worker",
        )
        workers.kill_child(chance)
        workers.kill()
    house.workers()
    while finish(house) == "halted":  # by what died with a worker
        house.manage("shell", "-c", GO_ON)
    failed = house.query("SELECT result FROM office_mended WHERE status <> 'recovered'")
    assert all("WorkerDied" in row["result"] for row in failed), failed
    if failed:
        house.manage("shell", "-c", RETRY)
        assert finish(house) == "finished"
    house.wait_until(lambda: house.all_sagas("closed", TABLES), 60, "all tables are served")
    assert count(house, "recovered") == TABLES
    pizzas = "SELECT count(*) AS pizzas, count(DISTINCT visit) AS tables FROM kitchen_kitchenorder"
    assert house.query(pizzas) == [{"pizzas": TABLES, "tables": TABLES}]


def count(house: House, what: str) -> int:
    [row] = house.query("SELECT count(*) AS items FROM office_mended WHERE status = %s", [what])
    return int(row["items"])


def newest(house: House) -> str:
    """How the newest mending stands."""
    [row] = house.query("SELECT status FROM office_mending ORDER BY id DESC LIMIT 1")
    return str(row["status"])


def finish(house: House) -> str:
    """Wait until the newest mending does not run any more; returns what it is."""
    house.wait_until(lambda: newest(house) != "running", 60, "the mending has ended")
    return newest(house)
