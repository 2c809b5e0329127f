"""`manage.py explore_saga --keep`: the exploration is in memory, its report in the configured database."""

import json
from typing import Any

import pytest

from tests.house import House, Row

QUICK = ("explore_saga", "simple_serving", "--pizzas", "1", "--troubles", "0", "--keep")


@pytest.mark.without_servers
def test_in_an_embedded_house_a_report_is_kept_in_its_file(embedded_house: House) -> None:
    assert_the_newest_is_kept(embedded_house)


def test_in_a_house_with_servers_a_report_is_kept_in_its_database(house: House) -> None:
    assert_the_newest_is_kept(house)


def assert_the_newest_is_kept(house: House) -> None:
    house.manage(*QUICK)
    [first] = reports(house)
    said = house.manage_json(*QUICK)
    [newest] = reports(house)
    assert newest["id"] > first["id"]
    assert newest["scenario"] == said["scenario"] == "simple_serving"
    assert bool(newest["complete"]) is said["complete"] is True
    told = ("worlds", "moves", "handler_runs")
    assert [newest[name] for name in told] == [said[name] for name in told]
    assert value(newest["saga_states"]) == said["saga_states"]
    assert value(newest["findings"]) == said["findings"] == []
    assert value(newest["parameters"]) == {"pizzas": 1, "stock": 1, **said["bounds"]}
    assert_nothing_else_came_of_it(house)


def assert_nothing_else_came_of_it(house: House) -> None:
    """What was explored was another database."""
    for table in ("orders_simpleserving", "messaging_outboxmessage", "messaging_inboxmessage"):
        assert house.query(f"SELECT * FROM {table}") == []


def reports(house: House) -> list[Row]:
    return house.query("SELECT * FROM office_explorerreport")


def value(column: Any) -> Any:
    """JSON, which SQLite keeps as a text."""
    return json.loads(column) if isinstance(column, str) else column
