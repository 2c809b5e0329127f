"""Workers in different terminals, many tables at once."""

from tests.conftest import OpenHouse
from tests.house import WHOLE_STORY, House, told


def test_twenty_tables_at_once_are_served_by_two_worker_processes(house: House) -> None:
    house.workers("orders")
    house.workers("menu", "waiter", "kitchen")

    commands = [house.start("serve_table", f"TBL{n}", "--detach", "--json") for n in range(20)]
    accepted = [command.finish() for command in commands]
    assert [ran.code for ran in accepted] == [0] * 20
    house.wait_until(lambda: house.all_sagas("closed", 20), 60, "all twenty are closed")

    sagas = [ran.json()["saga"] for ran in accepted]
    assert house.messages() == dict.fromkeys(sagas, WHOLE_STORY)
    for n in (0, 19):
        story = house.saga(sagas[n])
        assert (story["table"], story["outcome"]) == (f"TBL{n}", "completed")
        assert told(story) == WHOLE_STORY


def test_a_table_that_is_followed_ends_with_its_bill(house: House) -> None:
    house.workers()
    served = house.manage_json("serve_table", "TBL1")
    assert served["state"] == "closed"
    assert served["outcome"] == "completed"
    assert (served["pizzas"], served["bill"]) == (5, {"EUR": "124.00"})
    assert served["messages"] == WHOLE_STORY.total()

    [listed] = house.sagas()
    assert listed["saga"] == served["saga"]
    assert listed["last_error"] is None


def test_workers_told_to_stop_finish_what_they_do(open_house: OpenHouse) -> None:
    house = open_house(pace=2)  # baking and paying outlast the stop
    workers = house.workers()
    house.manage("serve_table", "TBL1", "--detach")
    house.wait_until(lambda: house.all_sagas("baking", 1), 30, "pizzas are baked")
    assert workers.stop() == 0
    assert not house.all_sagas("closed", 1)

    house.workers()
    house.wait_until(lambda: house.all_sagas("closed", 1), 30, "the next workers go on")


def test_a_table_that_nobody_serves_is_said_to_wait_and_goes_on_later(house: House) -> None:
    ran = house.manage("serve_table", "TBL1", "--timeout", "7", check=False)
    assert ran.code == 3
    assert "waits for StartTableService to orders.table_service" in ran.stderr
    assert "Is a worker running? Start one: manage.py rundramatiq" in ran.stderr
    house.workers()
    house.wait_until(lambda: house.all_sagas("closed", 1), 30, "the workers serve it")
