"""When it goes wrong, through the commands: the table's rows as an operator sees them."""

import json
from typing import Any

from tests.conftest import OpenHouse
from tests.house import House

TWO_MARGHERITAS = ("--order", "2 x pmghr xl")

# Brings a table to each state and leaves it there: no worker runs, its messages are handed one by one.
DRIVE = """
import json, sys
from django.db import transaction
from django.test import override_settings
from orders.contracts import Cancel, StartTableService
from orders.table_service import TableService
from pizzahouse.messaging import outstanding, relay, testing
from pizzahouse.messaging.handling import perform
from pizzahouse.messaging.models import OutboxMessage
FINE = {"burned": 0.0, "declined": 0.0, "left": 0.0}
SPECIAL = {"recalling": "burned", "needs_manager": "declined", "called_off": "left"}
def drive(state):
    with transaction.atomic():
        saga = TableService.begin(StartTableService(table=state))
    with override_settings(PIZZAHOUSE_MISHAPS=FINE | ({SPECIAL[state]: 1.0} if state in SPECIAL else {})):
        while (now := TableService.objects.filter(pk=saga).values_list("state", flat=True).first()) != state:
            if state == "apologizing" and now == "ordering":
                perform(Cancel(by="test", reason="test"), to=TableService.address(), saga=saga)
                continue
            waiting = [each for each in outstanding.of(saga) if each.why != "scheduled"]
            testing.hand(relay.letter_of(OutboxMessage.objects.get(pk=waiting[0].message_id)))
    return str(saga)
print(json.dumps({state: drive(state) for state in sys.stdin.read().split()}))
"""
CALLED_OFF = ["started", "getting_menu", "showing_menu", "ordering", "baking", "recalling"]
TOO_LATE = ["serving", "billing", "thanking", "needs_manager", "apologizing", "closed", "called_off"]


def driven(house: House, states: list[str]) -> dict[str, str]:
    """A table in each of these states, by state."""
    script = DRIVE.replace("sys.stdin.read().split()", repr(states))
    sagas: dict[str, str] = json.loads(house.manage("shell", "--verbosity", "0", "-c", script).stdout)
    return sagas


def state_of(house: House, saga: str) -> str:
    [row] = house.query("SELECT state FROM orders_tableservice WHERE id = %s", [saga])
    return str(row["state"])


def stock(house: House, code: str) -> int:
    [row] = house.query("SELECT * FROM kitchen_stock WHERE code = %s", [code])
    return int(row["left"])


def set_stock(house: House, code: str, left: int) -> None:
    house.query('UPDATE kitchen_stock SET "left" = %s WHERE code = %s', [left, code])


def baked(house: House) -> dict[str, int]:
    """How many pizzas there are of each status in the kitchen."""
    rows = house.query("SELECT status, count(*) AS pizzas FROM kitchen_kitchenorder GROUP BY status")
    return {row["status"]: row["pizzas"] for row in rows}


def till(house: House) -> int:
    return sum(row["amount"] for row in house.query("SELECT amount FROM waiter_till"))


# --- The kitchen and the guests -------------------------------------------------------------------


def test_a_sold_out_pizza_leads_to_a_second_round_and_a_paid_bill(house: House) -> None:
    set_stock(house, "pmghr", 1)
    house.workers()
    served = house.manage_json("serve_table", "TBL1", *TWO_MARGHERITAS)
    assert (served["outcome"], served["pizzas"]) == ("completed", 2)
    assert served["bill"] == {"EUR": "36.00"}, "two Funghi instead"
    assert till(house) == 3600
    assert stock(house, "pmghr") + baked(house).get("discarded", 0) == 1
    steps = [each["type"] for each in house.saga(served["saga"])["history"] if each["kind"] == "transition"]
    assert steps.count("recall_round") == 1
    assert steps.count("do_pizzas") == 2


def test_two_refused_rounds_are_called_off_with_an_apology(open_house: OpenHouse) -> None:
    house = open_house()
    house.variables["PIZZAHOUSE_MISHAPS"] = "burned=1"
    house.workers()
    ran = house.manage("serve_table", "TBL1", *TWO_MARGHERITAS, check=False)
    assert ran.code == 5
    assert "apologizes: the kitchen cannot make it" in ran.stdout
    assert "It ended called off" in ran.stderr
    assert house.states() == {"called_off": 1}
    assert till(house) == 0
    house.wait_until(lambda: house.pending() == 0, 20, "all is handled")
    assert stock(house, "pmghr") == 1_000_000 - baked(house)["burned"] - baked(house).get("discarded", 0)


def test_a_card_that_is_declined_three_times_needs_the_manager_who_writes_it_off(
    open_house: OpenHouse,
) -> None:
    house = open_house()
    house.variables["PIZZAHOUSE_MISHAPS"] = "declined=1"
    house.workers()
    ran = house.manage("serve_table", "TBL1", *TWO_MARGHERITAS, "--json", check=False)
    assert ran.code == 5
    served = ran.json()
    assert (served["state"], served["outcome"]) == ("needs_manager", None)
    assert f"manage.py decide_saga {served['saga']}" in ran.stderr

    why = ("--reason", "regulars", "--by", "otto")
    decided = house.manage_json("decide_saga", served["saga"], "--write-off", *why)
    assert (decided["from_state"], decided["to_state"]) == ("needs_manager", "thanking")
    house.wait_until(lambda: house.all_sagas("closed", 1), 30, "it is closed")
    assert till(house) == 0
    [step] = [each for each in house.saga(served["saga"])["history"] if each["type"] == "go_on"]
    assert step["detail"] == "otto: write off: regulars"


def test_a_manager_may_have_the_bill_paid_after_all(open_house: OpenHouse) -> None:
    house = open_house()
    sagas = driven(house, ["needs_manager"])
    house.workers()
    house.manage("decide_saga", sagas["needs_manager"], "--retry", "--reason", "another card")
    house.wait_until(lambda: house.all_sagas("closed", 1), 30, "it is closed")
    assert till(house) == 12400
    assert house.query("SELECT shown FROM waiter_bill") == [{"shown": 4}]


def test_guests_may_leave(open_house: OpenHouse) -> None:
    house = open_house()
    house.variables["PIZZAHOUSE_MISHAPS"] = "left=1"
    house.workers()
    ran = house.manage("serve_table", "TBL1", check=False)
    assert ran.code == 5
    assert "guests   leave" in ran.stdout


def test_the_simple_serving_asks_no_kitchen(house: House) -> None:
    house.workers()
    told = house.manage("serve_simple", "BAR", "--order", "1 x pmghr xl").stdout
    assert "14.00 EUR" in told
    assert "pay" in told
    assert baked(house) == {}
    assert till(house) == 1400
    [served] = [each for each in house.sagas() if each["scenario"] == "simple_serving"]
    assert served["outcome"] == "completed"


# --- Cancelling -----------------------------------------------------------------------------------


def test_a_cancel_does_in_every_state_what_the_table_says(house: House) -> None:
    sagas = driven(house, [*CALLED_OFF, *TOO_LATE])
    running = {
        state: house.start("cancel_saga", saga, "--reason", "a fly in the soup", "--by", "anna")
        for state, saga in sagas.items()
    }
    ran = {state: each.finish() for state, each in running.items()}
    assert {state: each.code for state, each in ran.items()} == {
        **dict.fromkeys(CALLED_OFF, 0),
        **dict.fromkeys(TOO_LATE, 1),
    }
    for state in CALLED_OFF:
        after = "recalling" if state in {"baking", "recalling"} else "apologizing"
        assert f"{state} goes from {state} to {after}" in ran[state].stdout
    for state in TOO_LATE:
        assert state_of(house, sagas[state]) == state
        assert len(ran[state].stderr.strip().splitlines()) == 1
    assert "cannot be cancelled any more" in ran["serving"].stderr
    assert "decide_saga" in ran["needs_manager"].stderr
    assert "closed already" in ran["closed"].stderr

    house.manage("decide_saga", sagas["needs_manager"], "--write-off", "--reason", "regulars")
    house.workers()
    ends = {"called_off": len(CALLED_OFF) + 2, "closed": len(TOO_LATE) - 2}
    house.wait_until(lambda: house.states() == ends, 60, "all have ended as they should")
    house.wait_until(lambda: house.pending() == 0, 20, "all is handled")
    assert house.handled().keys() == {"done", "ignored"}
    pizzas = baked(house)
    assert pizzas["taken"] == 5 * ends["closed"]
    used = sum(pizzas.get(each, 0) for each in ("taken", "discarded", "burned"))
    codes = ("pmghr", "proma", "pamat")
    assert sum(stock(house, code) for code in codes) == 3_000_000 - used
    [step] = [each for each in house.saga(sagas["ordering"])["history"] if each["type"] == "cancel"]
    assert step["detail"].startswith("anna: a fly in the soup")


def test_a_dry_run_shows_what_would_be_undone_and_leaves_no_trace(house: House) -> None:
    saga = driven(house, ["baking"])["baking"]
    before = everything(house)
    shown = house.manage_json("cancel_saga", saga, "--reason", "a fly", "--dry-run")
    assert (shown["from_state"], shown["to_state"], shown["dry_run"]) == ("baking", "recalling", True)
    assert [each["type"] for each in shown["sends"]] == ["CancelPizza"] * 5
    assert "withdrawn: 5 x DoPizza" in shown["detail"]
    assert everything(house) == before


def everything(house: House) -> list[Any]:
    """All rows of the house."""
    tables = ("orders_tableservice", "orders_orderedpizza", "kitchen_kitchenorder", "kitchen_stock")
    kernel = ("messaging_outboxmessage", "messaging_inboxmessage", "waiter_deed", "waiter_bill")
    return [house.query(f"SELECT * FROM {table} ORDER BY 1") for table in (*tables, *kernel)]
