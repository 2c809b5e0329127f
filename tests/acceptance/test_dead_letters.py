"""Fifty messages that are dead, and what the operator's commands make of them."""

import pytest

from tests.acceptance.test_failures import COLD_OVEN, MEND
from tests.conftest import OpenHouse
from tests.house import House

TABLES = 50

SEAT = f"""
from django.db import transaction
from orders.contracts import StartTableService
from orders.table_service import TableService
from waiter.contracts import Wish
for n in range({TABLES}):
    with transaction.atomic():
        TableService.begin(StartTableService(table=f"TBL{{n}}", wish=(Wish(1, "pfngh", "xl"),)))
"""


@pytest.fixture
def house_with_a_cold_oven(open_house: OpenHouse) -> House:
    """A house in which each of the tables has a dead DoPizza."""
    house = open_house()
    house.variables |= {"PIZZAHOUSE_MAX_ATTEMPTS": "2", "PIZZAHOUSE_RETRY_SECONDS": "0.05"}
    house.query(COLD_OVEN.format(failures=1_000_000))
    house.workers()
    house.manage("shell", "--verbosity", "0", "-c", SEAT)
    house.wait_until(lambda: house.handled().get("dead") == TABLES, 60, "all fifty are dead")
    return house


def test_fifty_dead_messages_are_retried_when_the_cause_is_mended_and_not_before(
    house_with_a_cold_oven: House,
) -> None:
    house = house_with_a_cold_oven
    listed = house.manage_json("messages", "--dead")
    assert len(listed) == TABLES
    assert {each["type"] for each in listed} == {"DoPizza"}
    assert all("the oven is cold" in each["error"] for each in listed)

    ran = house.manage("retry_messages", "--dead", "--json", check=False)
    assert ran.code == 1
    in_vain = ran.json()
    assert [each["failed"] for each in in_vain["messages"]] == [True], "it stops after the first"
    assert "the oven is cold" in in_vain["messages"][0]["result"]
    assert in_vain["left"] == TABLES - 1
    assert house.handled()["dead"] == TABLES

    house.query(MEND)
    one = listed[-1]["message_id"]
    by_id = house.manage("retry_messages", one).stdout
    assert "advanced: baking → " in by_id
    assert "1 of 1 advanced, 0 failed again." in by_id
    mended = house.manage_json("retry_messages", "--dead", "--type", "DoPizza", timeout=120)
    assert mended["left"] == 0
    assert len(mended["messages"]) == TABLES - 1
    assert all(each["advanced"] and not each["failed"] for each in mended["messages"])
    house.wait_until(lambda: house.all_sagas("closed", TABLES), 30, "all are closed")
    assert house.handled() == {"done": TABLES * 16}
    assert house.manage("messages", "--dead").stderr.strip() == "None."


GARBAGE = """
INSERT INTO messaging_inboxmessage (message_id, handler, type, status, error, message)
VALUES ('00000000-0000-0000-0000-000000000007', 'kitchen.DoPizza', '?', 'dead', 'InvalidMessage', '{}')
"""


def test_what_nobody_can_read_does_not_hold_up_what_can_be_retried(open_house: OpenHouse) -> None:
    house = open_house()
    house.query(GARBAGE)
    house.variables |= {"PIZZAHOUSE_MAX_ATTEMPTS": "1"}
    house.query(COLD_OVEN.format(failures=1))
    house.workers()
    house.manage("serve_table", "TBL1", "--order", "1 x pfngh xl", "--detach")
    house.wait_until(lambda: house.handled().get("dead") == 2, 60, "it is dead")
    ran = house.manage("retry_messages", "--dead")
    assert "1 of 1 advanced, 0 failed again." in ran.stdout
    assert "? 00000000-0000-0000-0000-000000000007 was never readable, and is not sent" in ran.stderr
    again = house.manage("retry_messages", "00000000-0000-0000-0000-000000000007", check=False)
    assert again.code == 1
    assert "was never readable" in again.stderr


def test_a_process_that_could_not_start_is_said_to_have_failed(open_house: OpenHouse) -> None:
    house = open_house()
    house.query("ALTER TABLE orders_tableservice RENAME TO elsewhere")
    house.variables |= {"PIZZAHOUSE_MAX_ATTEMPTS": "1"}
    house.workers()
    saga = house.manage_json("serve_table", "TBL1", "--detach")["saga"]
    house.wait_until(lambda: house.handled().get("dead") == 1, 60, "its start is dead")
    house.query("ALTER TABLE elsewhere RENAME TO orders_tableservice")
    said = house.manage("saga", saga, check=False)
    assert said.code == 1
    assert "could not start" in said.stderr
    assert "retry_messages" in said.stderr
    ran = house.manage("retry_messages", "--dead")
    assert "handled: TBL1 (" in ran.stdout
    house.wait_until(lambda: house.all_sagas("closed", 1), 30, "it is closed")


def test_without_a_worker_a_retry_says_that_nothing_came_of_it(open_house: OpenHouse) -> None:
    house = open_house()
    house.variables |= {"PIZZAHOUSE_MAX_ATTEMPTS": "1"}
    house.query(COLD_OVEN.format(failures=1_000_000))
    workers = house.workers()
    house.manage("serve_table", "TBL1", "--order", "1 x pfngh xl", "--detach")
    house.wait_until(lambda: house.handled().get("dead") == 1, 60, "it is dead")
    workers.stop()
    ran = house.manage("retry_messages", "--dead", "--wait", "1", check=False)
    assert ran.code == 3
    assert "not handled yet" in ran.stdout
    assert "Is a worker running?" in ran.stderr


def test_what_was_handled_long_ago_is_pruned_and_the_rest_is_kept(house: House) -> None:
    house.workers()
    closed = house.manage_json("serve_table", "TBL1")["saga"]
    house.wait_until(lambda: house.pending() == 0, 20, "all is marked")
    running = house.manage_json("serve_table", "TBL2", "--detach")["saga"]
    house.wait_until(lambda: house.all_sagas("closed", 2), 30, "both are closed")
    for table in ("messaging_outboxmessage", "messaging_inboxmessage"):
        column = "created_at" if "outbox" in table else "handled_at"
        house.query(f"UPDATE {table} SET {column} = {column} - interval '40 days'")
    house.query("UPDATE messaging_outboxmessage SET available_at = NULL")
    house.query(
        "UPDATE orders_tableservice SET finished_at = finished_at - interval '40 days' WHERE id = %s",
        [closed],
    )
    assert house.manage("prune_messages", "--older-than", "30d", "--dry-run").stdout.startswith("24 ")
    assert house.manage("prune_messages", "--older-than", "30d").stdout == "24 messages deleted.\n"
    assert list(house.messages()) == [running]
    assert house.handled() == {"done": 24}
    assert house.manage("prune_messages", "--older-than", "30d").stdout == "0 messages deleted.\n"
