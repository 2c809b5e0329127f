"""Deadlines: a kitchen that is closed, and one that was closed for months."""

from collections import Counter

from tests.conftest import OpenHouse
from tests.house import House, Row

WITHIN = 5.4  # seconds: half an hour at this patience
PATIENCE = str(WITHIN / 1800)


def steps(story: Row) -> Counter[str]:
    return Counter(each["type"] for each in story["history"] if each["kind"] == "transition")


def test_a_closed_kitchen_is_asked_again_then_called_off_and_bakes_for_nobody_when_it_opens(
    open_house: OpenHouse,
) -> None:
    house = open_house()
    house.variables["PIZZAHOUSE_PATIENCE"] = PATIENCE
    house.workers("orders", "menu", "waiter")
    saga = house.manage_json("serve_table", "TBL1", "--detach")["saga"]
    house.wait_until(lambda: house.all_sagas("baking", 1), 30, "pizzas are asked for")
    house.wait_until(lambda: house.all_sagas("recalling", 1), 30, "it is being called off")
    story = house.saga(saga)
    assert steps(story)["ask_again"] >= 1
    assert steps(story)["give_up"] == 1
    again = [each for each in story["history"] if each["type"] == "ask_again"]
    assert again[0]["detail"] == "sent again: 5 x DoPizza"

    house.workers("kitchen")
    house.wait_until(lambda: house.all_sagas("called_off", 1), 60, "the kitchen has answered")
    house.wait_until(lambda: house.pending() == 0, 20, "all is handled")
    assert_nobody_was_baked_for(house)


def assert_nobody_was_baked_for(house: House) -> None:
    kitchen = house.query("SELECT status, count(*) AS pizzas FROM kitchen_kitchenorder GROUP BY status")
    assert kitchen == [{"status": "cancelled", "pizzas": 5}]
    assert house.query('SELECT sum("left") AS pizzas FROM kitchen_stock') == [{"pizzas": 5_000_000}]
    [answers] = house.query("SELECT count(*) AS done FROM messaging_outboxmessage WHERE type = 'PizzaDone'")
    assert answers == {"done": 0}
    assert house.query("SELECT kind FROM waiter_deed WHERE kind LIKE 'client%'") == [
        {"kind": "client_apologized"}
    ]


def test_a_deadline_that_passed_while_the_house_was_closed_fires_when_it_opens(open_house: OpenHouse) -> None:
    house = open_house()
    workers = house.workers("orders", "menu", "waiter")
    saga = house.manage_json("serve_table", "TBL1", "--detach")["saga"]
    house.wait_until(lambda: house.all_sagas("baking", 1), 30, "pizzas are asked for")
    assert workers.stop() == 0
    for table, columns in {
        "messaging_outboxmessage": ("created_at", "due_at", "available_at", "sent_at"),
        "messaging_inboxmessage": ("handled_at",),
        "orders_tableservice": ("started_at", "deadline_at"),
    }.items():  # three months go by
        moved = ", ".join(f"{column} = {column} - interval '90 days'" for column in columns)
        house.query(f"UPDATE {table} SET {moved}")
    house.workers("orders", "menu", "waiter")
    house.wait_until(lambda: steps(house.saga(saga))["ask_again"] == 1, 30, "its time was up")
    house.workers("kitchen")
    house.wait_until(lambda: house.all_sagas("closed", 1), 60, "it goes on as if nothing had been")
