"""The house with nothing configured: one process, an SQLite file."""

import json
import sqlite3

import pytest

from tests.house import WHOLE_STORY, House

pytestmark = pytest.mark.without_servers


def test_the_first_command_tells_the_whole_story(embedded_house: House) -> None:
    told = embedded_house.manage("serve_table", "TBL1").stdout
    for words in ("Pizza Margherita", "2 × pmghr xl", "5 of 5", "124.00 EUR", "thanks"):
        assert words in told


def test_the_json_is_one_document_and_nothing_else(embedded_house: House) -> None:
    ran = embedded_house.manage("serve_table", "TBL1", "--order", "2 x pfngh xl", "--json")
    served = json.loads(ran.stdout)
    assert served.keys() == {*("saga", "table", "state", "outcome", "pizzas", "bill", "messages", "seconds")}
    assert (served["table"], served["pizzas"], served["bill"]) == ("TBL1", 2, {"EUR": "36.00"})


@pytest.mark.parametrize("state", ["ordering", "baking", "billing"])
def test_what_a_killed_process_left_is_finished_by_the_next(embedded_house: House, state: str) -> None:
    house = embedded_house
    seed_pace = house.start("serve_table", "TBL1", env={"PIZZAHOUSE_PACE": "1"})
    house.wait_until(lambda: is_in(house, state), 30, f"TBL1 is {state}")
    seed_pace.kill()
    assert is_in(house, state)

    house.manage("serve_table", "TBL2")
    assert house.all_sagas("closed", 2)
    assert list(house.messages().values()) == [WHOLE_STORY, WHOLE_STORY]


def test_a_detached_table_is_served_by_the_next_command(embedded_house: House) -> None:
    embedded_house.manage("serve_table", "TBL1", "--detach")
    embedded_house.manage("serve_table", "TBL2")
    assert embedded_house.all_sagas("closed", 2)


def test_ctrl_c_ends_the_watching_and_says_how_to_go_on(embedded_house: House) -> None:
    house = embedded_house
    watching = house.start("serve_table", "TBL1", env={"PIZZAHOUSE_PACE": "1"})
    house.wait_until(lambda: is_in(house, "ordering"), 30, "TBL1 orders")
    watching.interrupt()
    ran = watching.finish()
    assert ran.code == 130
    assert "manage.py saga" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_wait_that_is_over_leaves_the_table_under_way(embedded_house: House) -> None:
    pace = {"PIZZAHOUSE_PACE": "1"}
    ran = embedded_house.manage("serve_table", "TBL1", "--timeout", "1", check=False, env=pace)
    assert ran.code == 3
    assert "manage.py saga" in ran.stderr


def test_workers_say_what_to_set(embedded_house: House) -> None:
    ran = embedded_house.manage("rundramatiq", check=False)
    assert ran.code == 2
    assert "DATABASE_URL" in ran.stderr
    assert "RABBITMQ_URL" in ran.stderr
    assert "Traceback" not in ran.stderr


def is_in(house: House, state: str) -> bool:
    """Whether the only saga there is has come to this state."""
    try:
        return house.all_sagas(state, 1)
    except sqlite3.OperationalError:  # the database is just being made
        return False
