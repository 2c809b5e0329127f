"""The relay and its database connection, which may end at any time."""

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
import pytest
from django.db import connection, transaction

from pizzahouse.messaging import relay
from pizzahouse.messaging.envelope import Letter
from pizzahouse.messaging.models import OutboxMessage
from pizzahouse.messaging.relay import Relay
from tests.house import House
from tests.integration.conftest import Rabbit
from tests.servers import POSTGRESQL, RABBITMQ, wait_until
from tests.unit.postoffice import SendParcel, committed, post
from tests.unit.test_relay import Basket

pytestmark = committed


def end_all_other_connections() -> int:
    """Of this test's database, but for the test's own; returns how many they were."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return int(cursor.fetchone()[0])


def pending() -> int:
    return OutboxMessage.objects.filter(sent_at=None).count()


@contextmanager
def running(basket: Basket) -> Iterator[Relay]:
    running = Relay(basket)
    running.start()
    try:
        yield running
    finally:
        running.stop()
        assert not running.is_alive()


def test_a_relay_whose_connections_are_ended_goes_on() -> None:
    basket = Basket()
    with running(basket) as alive:
        for number in range(2):
            post(SendParcel(note=str(number)))
            wait_until(lambda wanted=number + 1: len(basket.letters) == wanted, 10, "it is published")
            wait_until(lambda: not pending(), 10, "it is marked")
            assert end_all_other_connections() == 1
        assert alive.is_alive()
        assert basket.notes == ["0", "1"]


def test_marks_that_were_lost_with_the_connection_are_made_over_the_next() -> None:
    class Cut(Basket):
        def confirm(self) -> None:
            """The connection ends between the sweep and the mark."""
            if self.unconfirmed:
                threading.Thread(target=self._cut_and_confirm).start()

        def _cut_and_confirm(self) -> None:
            with psycopg.connect(POSTGRESQL.url, autocommit=True) as admin:
                admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = %s AND pid <> ALL(%s)",
                    [name, [mine]],
                )
            super().confirm()

    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database(), pg_backend_pid()")
        name, mine = cursor.fetchone()
    basket = Cut()
    post()
    with running(basket):
        wait_until(lambda: not pending(), 10, "it is marked all the same")
    assert len(basket.letters) == 1
    assert OutboxMessage.objects.get().sends == 1


def test_a_row_that_is_locked_by_others_does_not_stop_the_relay() -> None:
    first = post(SendParcel(note="locked"))
    basket = Basket()
    with transaction.atomic():
        OutboxMessage.objects.select_for_update().get(pk=first.envelope.message_id)
        with running(basket):
            other: list[UUID] = []

            def put() -> None:
                other.append(post(SendParcel(note="free")).envelope.message_id)
                connection.close()

            thread = threading.Thread(target=put)
            thread.start()
            thread.join(10)
            wait_until(lambda: "free" in basket.notes, 10, "the free one is published")
    assert basket.notes == ["free"]


def test_two_relays_share_the_work_and_publish_nothing_twice() -> None:
    baskets = Basket(), Basket()
    with running(baskets[0]), running(baskets[1]):
        threads = [threading.Thread(target=_put_some) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        wait_until(lambda: not pending(), 20, "all are marked")
    published = [letter.envelope.message_id for basket in baskets for letter in basket.letters]
    assert len(published) == len(set(published)) == 150


def _put_some() -> None:
    for number in range(50):
        post(SendParcel(note=str(number)))
    connection.close()


def test_a_process_that_dies_after_its_commit_is_stood_in_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows are leased to its own relay, which is no more."""
    monkeypatch.setattr(relay, "LEASE_SECONDS", 2.0)

    class Dead(Basket):
        def publish(self, letters: Iterable[Letter]) -> None:
            """Killed before it could."""

        def stop(self, timeout: float) -> None:
            """It is dead."""

    dead = relay.start(Dead(ready=False))
    post(SendParcel(note="orphan"))
    relay.stop()
    assert not dead.is_alive()
    basket = Basket()
    with running(basket):
        assert pending() == 1
        wait_until(lambda: basket.notes == ["orphan"], 10, "its lease runs out")


def test_a_relay_of_its_own_sends_what_is_due_until_it_is_told_to_end(rabbit: Rabbit, tmp_path: Path) -> None:
    database = urlsplit(POSTGRESQL.url)._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    house = House(tmp_path, database, RABBITMQ.url, queue_prefix=rabbit.prefix)
    rabbit.declare()
    for number in range(3):
        post(SendParcel(note=str(number)))
    relaying = house.start("relay_outbox")
    try:
        wait_until(lambda: not pending(), 30, "all are marked")
        assert rabbit.ready() == 3
        relaying.process.send_signal(signal.SIGTERM)
        ended = relaying.finish(15)
    finally:
        relaying.kill()
    assert ended.code == 0
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("command", ["relay_outbox", "rundramatiq"])
def test_without_a_broker_there_is_nothing_to_relay_to(tmp_path: Path, command: str) -> None:
    refused = House(tmp_path, f"sqlite:///{tmp_path / 'house.sqlite3'}").manage(command, check=False)
    assert refused.code == 2
    assert "RABBITMQ_URL is not set" in refused.stderr
    assert "Traceback" not in refused.stderr
