"""A message whose handling ends the worker's process, as a crash in a library does, or a lack of memory."""

import pytest

from tests.conftest import OpenHouse
from tests.house import House, Workers

DEADLY = {"DJANGO_SETTINGS_MODULE": "tests.integration.deadly_oven"}
FUNGHI, MARGHERITA = ("--order", "1 x pfngh xl"), ("--order", "2 x pmghr xl")
DEATHS = 4  # one that nobody suspects, and three that are watched


class InitSystem:
    """Starts the workers of the kitchen again whenever they end."""

    def __init__(self, house: House) -> None:
        self.house, self.deaths = house, 0
        self.workers = self._start()

    def _start(self) -> Workers:
        return self.house.workers("kitchen", threads=2, wait=False)

    def revive(self) -> None:
        if not self.workers.runs:
            self.deaths += 1
            self.workers = self._start()


@pytest.fixture
def house_with_a_deadly_oven(open_house: OpenHouse) -> House:
    house = open_house()
    house.variables |= {"PIZZAHOUSE_RETRY_SECONDS": "0.2", "PIZZAHOUSE_PATIENCE": "1000"}
    house.workers("orders", "menu", "waiter")
    return house


def dead(house: House) -> bool:
    return bool(house.handled().get("dead"))


@pytest.mark.timeout(240)
def test_a_message_that_ends_its_process_is_dead_after_a_few_attempts_and_the_others_go_on(
    house_with_a_deadly_oven: House,
) -> None:
    house = house_with_a_deadly_oven
    poisoned = house.manage_json("serve_table", "TBL1", *FUNGHI, "--detach")["saga"]
    for table in range(2, 5):
        house.manage("serve_table", f"TBL{table}", *MARGHERITA, "--detach")
    house.variables |= DEADLY
    kitchen = InitSystem(house)

    def settled() -> bool:
        kitchen.revive()
        return dead(house) and house.states() == {"baking": 1, "closed": 3}

    house.wait_until(settled, 120, "the poison is dead, and the other tables are served")
    kitchen.workers.wait_until_ready(1)
    assert kitchen.deaths == DEATHS
    [row] = house.query("SELECT * FROM messaging_inboxmessage WHERE status <> 'done'")
    assert (row["type"], str(row["saga_id"]), row["status"]) == ("DoPizza", poisoned, "dead")
    assert row["error"].startswith("WorkerDied: ")
    assert (row["attempts"], row["started_at"], row["next_attempt_at"]) == (3, None, None)
    assert [each["error"][:10] for each in row["failures"]] == ["WorkerDied"] * 3
    baked = house.query("SELECT code, count(*) AS pizzas FROM kitchen_kitchenorder GROUP BY code")
    assert baked == [{"code": "pmghr", "pizzas": 6}]

    # A table that comes later is served by workers that live on.
    served = house.manage_json("serve_table", "TBL5", *MARGHERITA)
    assert served["outcome"] == "completed"
    assert kitchen.workers.runs

    # Once the oven is mended, the dead message is handled.
    house.variables["DJANGO_SETTINGS_MODULE"] = "pizzahouse.settings"
    assert kitchen.workers.stop() == 0
    house.workers("kitchen")
    house.manage("retry_messages", "--dead")
    house.wait_until(lambda: house.all_sagas("closed", 5), 30, "the poisoned table is served in the end")
    assert house.handled().keys() == {"done"}
