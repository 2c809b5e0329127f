"""A kitchen that fails: tried again with growing pauses, dead in the end, and mended by a human."""

from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from tests.conftest import OpenHouse
from tests.house import House

FUNGHI = ("--order", "1 x pfngh xl")  # only these fail
RETRY_SECONDS = 0.3

# The failure is real: it happens in the kitchen's database, where the handler writes its order.
# A sequence is not rolled back, so it counts the attempts of transactions that were.
COLD_OVEN = """
    CREATE SEQUENCE attempts;
    CREATE FUNCTION bake() RETURNS trigger AS $$ BEGIN
        IF new.code = 'pfngh' AND nextval('attempts') <= {failures} THEN
            RAISE EXCEPTION 'the oven is cold';
        END IF;
        RETURN new;
    END $$ LANGUAGE plpgsql;
    CREATE TRIGGER oven BEFORE INSERT ON kitchen_kitchenorder FOR EACH ROW EXECUTE FUNCTION bake()
"""
MENDED = "SELECT status FROM office_mended"
MEND = "DROP TRIGGER oven ON kitchen_kitchenorder"

# The office, driven by Django's test client in a process of the house: look, retry, look.
PRESS_RETRY = """
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
client = Client(SERVER_NAME="localhost")
client.force_login(User.objects.create_superuser("chef"))
print(client.get(reverse("admin:office_process_change", args=["{saga}"])).content.decode())
retry = reverse("admin:office_process_mend", args=["{saga}", "retry"])
print(client.post(retry, {{"do": "1", "reason": "it is warm"}}, follow=True).content.decode())
"""


@pytest.fixture
def kitchen_house(open_house: OpenHouse) -> House:
    """A house whose workers try a message four times, at first after 0.3 s."""
    house = open_house()
    house.variables |= {
        "PIZZAHOUSE_MAX_ATTEMPTS": "4",
        "PIZZAHOUSE_RETRY_SECONDS": str(RETRY_SECONDS),
    }
    house.workers()
    return house


def test_a_handler_that_fails_three_times_is_tried_with_growing_pauses(kitchen_house: House) -> None:
    house = kitchen_house
    house.query(COLD_OVEN.format(failures=3))
    served = house.manage_json("serve_table", "TBL1", *FUNGHI)
    assert served["outcome"] == "completed"

    failures = failures_of(house.saga(served["saga"]))
    [done] = house.query("SELECT * FROM messaging_inboxmessage WHERE type = 'DoPizza'")
    assert len(failures) == 3
    assert (done["status"], done["attempts"]) == ("done", 4)
    tries = [datetime.fromisoformat(failure["at"]) for failure in failures] + [done["handled_at"]]
    pauses = [(later - earlier).total_seconds() for earlier, later in pairwise(tries)]
    assert pauses == sorted(pauses)
    assert pauses[0] >= 0.75 * RETRY_SECONDS  # the shortest that jitter allows
    assert pauses[2] >= 0.75 * RETRY_SECONDS * 4


def test_a_dead_message_is_seen_holds_up_no_other_saga_and_can_be_retried(
    kitchen_house: House,
) -> None:
    house = kitchen_house
    house.query(COLD_OVEN.format(failures=1_000_000))
    saga = house.manage_json("serve_table", "TBL1", *FUNGHI, "--detach")["saga"]
    others = [house.start("serve_table", f"TBL{n}", "--json") for n in range(2, 6)]
    assert [other.finish().json()["outcome"] for other in others] == ["completed"] * 4
    house.wait_until(lambda: "dead" in house.handled(), 30, "the message is dead")

    story = house.saga(saga)
    assert story["state"] == "baking"
    assert len(failures_of(story)) == 4
    assert "the oven is cold" in failures_of(story)[-1]["detail"]
    assert "Traceback" in failures_of(story)[-1]["detail"]
    [dead] = [each for each in house.sagas() if each["saga"] == saga]
    assert "the oven is cold" in dead["last_error"]

    house.query(MEND)
    pages = house.manage("shell", "-c", PRESS_RETRY.format(saga=saga)).stdout
    assert "the oven is cold" in pages
    house.wait_until(lambda: house.all_sagas("closed", 5), 30, "the retried saga ends, too")
    house.wait_until(
        lambda: house.query(MENDED) == [{"status": "recovered"}], 30, "it is known what came of it"
    )
    assert house.query("SELECT * FROM messaging_inboxmessage WHERE status <> 'done'") == []


def failures_of(story: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry for entry in story["history"] if entry["kind"] == "failure"]
