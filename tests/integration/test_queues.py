"""A queue that is mistyped is an error, at each place where one can be typed."""

from pathlib import Path
from uuid import UUID

import pytest
from django.db import transaction
from pika.exceptions import ChannelClosedByBroker

from kitchen.contracts import DoPizza
from pizzahouse.messaging import outbox
from pizzahouse.messaging.broker import SafeRabbitmqBroker
from pizzahouse.messaging.errors import UnknownDestination
from pizzahouse.messaging.handling import handlers
from tests.house import House
from tests.integration.conftest import Rabbit, broker_of_the_house
from tests.servers import POSTGRESQL, RABBITMQ
from tests.unit.postoffice import committed


@committed
def test_a_message_to_a_mistyped_destination_is_refused_and_makes_no_queue(rabbit: Rabbit) -> None:
    with pytest.raises(UnknownDestination, match="did you mean 'kitchen'"), transaction.atomic():
        outbox.put(DoPizza(UUID(int=1), "pmghr", "xl"), to="kichen")
    assert rabbit.ready("kichen") == -1


@pytest.mark.parametrize("queues", [["kichen"], ["orders", "kichen"]])
def test_workers_of_a_mistyped_queue_are_refused_with_the_likely_one(
    tmp_path: Path, queues: list[str]
) -> None:
    house = House(tmp_path, POSTGRESQL.url, RABBITMQ.url)
    refused = house.manage("rundramatiq", "--queues", *queues, check=False)
    assert refused.code == 2
    assert "There is no queue 'kichen'" in refused.stderr
    assert "Did you mean 'kitchen'?" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert refused.stdout == ""


def test_every_module_has_its_queue_and_nothing_beside_it(rabbit: Rabbit) -> None:
    broker = broker_of_the_house(RABBITMQ.url, relays=False)
    addresses = {name.partition(".")[0] for name in handlers()}
    assert broker.queues == {f"{rabbit.prefix}{address}" for address in addresses}
    assert not broker.delay_queues
    for queue in sorted(broker.queues):
        broker.consume(queue, timeout=100).close()
    broker.close()
    assert {rabbit.ready(address) for address in addresses} == {0}
    for queue in broker.queues:
        for beside in (f"{queue}.DQ", f"{queue}.XQ"):
            with rabbit.channel() as channel, pytest.raises(ChannelClosedByBroker, match="NOT_FOUND"):
                channel.queue_declare(beside, passive=True)


@pytest.mark.parametrize("queue_type", ["classic", "quorum"])
def test_queues_are_of_the_type_that_is_set(rabbit: Rabbit, queue_type: str) -> None:
    broker = SafeRabbitmqBroker(url=RABBITMQ.url, queue_type=queue_type, middleware=[])
    broker.declare_queue(f"{rabbit.prefix}tests")
    consumer = broker.consume(f"{rabbit.prefix}tests", timeout=100)
    expected = {"x-queue-type": queue_type} if queue_type == "quorum" else {}
    with rabbit.channel() as channel:
        channel.queue_declare(f"{rabbit.prefix}tests", durable=True, arguments=expected)
    consumer.close()
    broker.close()
