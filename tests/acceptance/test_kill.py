"""Whatever is killed, and whenever: nothing is lost, nothing happens twice, every saga ends."""

import os
import random

import pytest

from tests.conftest import OpenHouse
from tests.house import WHOLE_STORY, House, Workers
from tests.servers import NotInTime, OwnRabbit

TABLES = 200
BATCH = 25
ROUNDS = 25  # about as many seconds of killing
ROLES = (("orders",), ("menu", "waiter", "kitchen"), ())

SEAT = """
from django.db import transaction
from orders.contracts import StartTableService
from orders.table_service import TableService
for n in range({first}, {last}):
    with transaction.atomic():
        TableService.begin(StartTableService(table=f"TBL{{n}}"))
"""


class Fleet:
    """Workers of each role; whoever ends is started again, as an init system would."""

    def __init__(self, house: House, chance: random.Random) -> None:
        self.house, self.chance = house, chance
        self.workers = [self._start(role) for role in ROLES]

    def _start(self, role: tuple[str, ...]) -> Workers:
        return self.house.workers(*role, processes=1, threads=4, wait=False)

    def kill_one(self) -> None:
        """kill -9 to one of them: to a worker process, or to a master and all its processes."""
        victim = self.chance.choice(self.workers)
        if self.chance.random() < 0.5:
            victim.kill_child(self.chance)
        else:
            victim.kill()

    def revive(self) -> None:
        """Start again whoever ended."""
        self.workers = [
            workers if workers.runs else self._start(role)
            for workers, role in zip(self.workers, ROLES, strict=True)
        ]


@pytest.mark.timeout(300)
def test_workers_killed_every_second_and_connections_cut_lose_and_double_nothing(
    open_house: OpenHouse, own_rabbitmq: OwnRabbit
) -> None:
    seed = int(os.environ.get("KILL_SEED") or random.SystemRandom().randrange(1_000_000))
    print(f"The same chances again: KILL_SEED={seed}")
    chance = random.Random(seed)
    house = open_house(rabbitmq_url=own_rabbitmq.url)
    fleet = Fleet(house, chance)
    fleet.workers[0].wait_until_ready(1)

    for number in range(ROUNDS):
        if number * BATCH < TABLES:
            house.start("shell", "-c", SEAT.format(first=number * BATCH, last=(number + 1) * BATCH))
        if number % 5 == 4:
            own_rabbitmq.close_all_connections("now and then")
        if served_within(1.0, house, fleet):
            break
        fleet.kill_one()

    house.wait_until(lambda: served(house, fleet), 150, "all tables are served")
    house.wait_until(lambda: house.pending() == 0, 30, "all that was sent is marked")
    assert_each_step_once(house)


def served(house: House, fleet: Fleet) -> bool:
    """Whether all tables are; whoever ended is started again, so that they will be."""
    fleet.revive()
    return house.all_sagas("closed", TABLES)


def served_within(seconds: float, house: House, fleet: Fleet) -> bool:
    """Whether all tables are before so many seconds have passed."""
    try:
        house.wait_until(lambda: served(house, fleet), seconds, "all tables are served")
    except NotInTime:
        return False
    return True


def assert_each_step_once(house: House) -> None:
    """The messages of each saga, that each was handled once, and what the modules did for it."""
    messages = house.messages()
    assert len(messages) == TABLES
    assert all(sent == WHOLE_STORY for sent in messages.values())
    assert house.handled() == {"done": TABLES * WHOLE_STORY.total()}

    pizzas = house.count("SELECT visit, 'pizza', count(*) FROM kitchen_kitchenorder GROUP BY 1")
    deeds = house.count("SELECT visit, kind, count(*) FROM waiter_deed GROUP BY 1, 2")
    bills = house.count("SELECT visit, 'bill', count(*) FROM waiter_bill GROUP BY 1")
    assert pizzas == {saga: {"pizza": 5} for saga in messages}
    kinds = ("menu_shown", "order_taken", "pizzas_served", "client_thanked")
    assert deeds == {saga: dict.fromkeys(kinds, 1) for saga in messages}
    assert bills == {saga: {"bill": 1} for saga in messages}
