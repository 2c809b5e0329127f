"""A broker that loses what it has confirmed: it is missed, and sent again under the same ids."""

import pytest

from tests.conftest import OpenHouse
from tests.house import WHOLE_STORY, House, told
from tests.servers import connect_to_broker

MODULES = ("orders", "menu", "waiter", "kitchen")
# What waits first in the queue of a module whose workers are away.
FIRST = {"orders": "StartTableService", "menu": "GetMenu", "waiter": "ShowMenu", "kitchen": "DoPizza"}


@pytest.fixture
def forgetful_house(open_house: OpenHouse) -> House:
    """A house that soon looks for what was sent and not handled, and whose sagas wait patiently."""
    house = open_house()
    house.variables |= {"PIZZAHOUSE_RESEND_SECONDS": "2", "PIZZAHOUSE_PATIENCE": "1000"}
    return house


def purge(house: House, module: str) -> int:
    """Lose all that waits in the queue of a module. Returns how many messages that were."""
    connection = connect_to_broker(house.rabbitmq_url)
    try:
        purged = connection.channel().queue_purge(house.queue_prefix + module)
        return int(purged.method.message_count)
    finally:
        connection.close()


def confirmed(house: House, message_type: str) -> int:
    """How many messages of a type the broker has confirmed."""
    sql = "SELECT id FROM messaging_outboxmessage WHERE type = %s AND sent_at IS NOT NULL"
    return len(house.query(sql, [message_type]))


def sends(house: House, message_type: str) -> list[int]:
    """How often the broker has confirmed each message of a type."""
    sql = "SELECT sends FROM messaging_outboxmessage WHERE type = %s"
    return [row["sends"] for row in house.query(sql, [message_type])]


@pytest.mark.parametrize("module", MODULES)
def test_what_the_broker_confirmed_and_lost_is_sent_again_and_the_saga_completes(
    forgetful_house: House, module: str
) -> None:
    house = forgetful_house
    others = [each for each in MODULES if each != module]
    house.workers(*others)
    saga = house.manage_json("serve_table", "TBL1", "--detach")["saga"]
    wanted = WHOLE_STORY[FIRST[module]]
    house.wait_until(lambda: confirmed(house, FIRST[module]) == wanted, 30, "the broker has confirmed it")
    assert purge(house, module) >= wanted

    house.workers(module)
    house.wait_until(lambda: house.all_sagas("closed", 1), 60, "the saga completes all the same")
    assert told(house.saga(saga)) == WHOLE_STORY, "nothing was done twice"
    house.wait_until(lambda: min(sends(house, FIRST[module])) >= 2, 30, "it is marked sent again")
    [wrong] = house.query("SELECT count(*) AS rows FROM messaging_inboxmessage WHERE status <> 'done'")
    assert wrong["rows"] == 0


def test_what_is_lost_again_and_again_is_sent_until_it_is_handled(forgetful_house: House) -> None:
    house = forgetful_house
    house.variables["PIZZAHOUSE_RESEND_SECONDS"] = "0.5"
    workers = house.workers("menu", "waiter")  # their relays are the ones that look
    for table in range(3):
        house.manage("serve_table", f"TBL{table}", "--detach")
    lost = 0

    def lose() -> bool:
        nonlocal lost
        lost += purge(house, "orders")
        return lost >= 9

    house.wait_until(lose, 60, "the three are lost three times each")
    assert workers.runs
    house.workers("orders", "kitchen")
    house.wait_until(lambda: house.all_sagas("closed", 3), 90, "all three are served")
    assert set(house.messages()) == {each["saga"] for each in house.sagas()}
    assert house.query("SELECT kind FROM waiter_deed GROUP BY visit, kind HAVING count(*) > 1") == []


def test_what_was_handled_is_not_sent_again_however_soon_it_is_looked_at(forgetful_house: House) -> None:
    house = forgetful_house
    house.variables["PIZZAHOUSE_RESEND_SECONDS"] = "0.001"
    house.workers()
    served = house.manage_json("serve_table", "TBL1")
    sql = "SELECT count(*) AS unsettled FROM messaging_outboxmessage WHERE available_at IS NOT NULL"
    house.wait_until(lambda: house.query(sql) == [{"unsettled": 0}], 60, "all that was handled is settled")
    assert told(house.saga(served["saga"])) == WHOLE_STORY
    assert house.query("SELECT id FROM messaging_outboxmessage WHERE sends > 2") == []
