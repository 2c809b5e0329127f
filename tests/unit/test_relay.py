"""The relay: what is committed goes to the broker, and what the broker has is marked."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone
from pytest_django import Settings

from pizzahouse.messaging import outbox, relay
from pizzahouse.messaging.envelope import Letter
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from pizzahouse.messaging.relay import Relay, mark_sent, take_failed, take_pending
from pizzahouse.messaging.testing import hand
from tests.servers import wait_until
from tests.unit.postoffice import Counter, ParcelSent, SendParcel, claim, committed, post

pytestmark = committed


class Basket:
    """A publisher into memory, whose broker confirms when it is told to."""

    def __init__(self, *, ready: bool = True, confirms: bool = True) -> None:
        self.ready, self.confirms = ready, confirms
        self.letters: list[Letter] = []
        self.unconfirmed: list[UUID] = []
        self.stopped = False

    def start(self, relay: Relay) -> None:
        self.relay = relay

    def publish(self, letters: Iterable[Letter]) -> None:
        new = list(letters)
        self.letters.extend(new)
        self.unconfirmed.extend(letter.envelope.message_id for letter in new)
        if self.confirms:
            self.confirm()

    def confirm(self) -> None:
        confirmed, self.unconfirmed = self.unconfirmed, []
        self.relay.confirm(confirmed)

    def stop(self, timeout: float) -> None:
        self.confirm()
        self.stopped = True

    @property
    def notes(self) -> list[str]:
        return [letter.payload.decode().split('"note":"')[1].split('"')[0] for letter in self.letters]


def by_hand(basket: Basket) -> Relay:
    """A relay whose rounds the test makes itself."""
    by_hand = Relay(basket)
    basket.start(by_hand)
    return by_hand


@contextmanager
def running(basket: Any) -> Iterator[Relay]:
    """This process's relay, in its thread."""
    local = relay.start(basket)
    try:
        yield local
    finally:
        relay.stop()
        assert not local.is_alive()


def pending() -> int:
    return OutboxMessage.objects.filter(sent_at=None).count()


def expire_leases() -> None:
    OutboxMessage.objects.filter(sent_at=None).update(available_at=Now() - timedelta(seconds=1))
    InboxMessage.objects.filter(status="failed").update(next_attempt_at=Now() - timedelta(seconds=1))


# --- From memory ----------------------------------------------------------------------------------


def test_what_is_put_is_published_right_after_the_commit_and_not_before() -> None:
    basket = Basket()
    with running(basket):
        with transaction.atomic():
            outbox.put(SendParcel(note="a"))
            with transaction.atomic():
                outbox.put(SendParcel(note="b"))
            assert basket.notes == []
        assert basket.notes == ["a", "b"]


def test_what_is_rolled_back_is_not_published() -> None:
    basket = Basket()
    with running(basket):
        with suppress(RuntimeError), transaction.atomic():
            outbox.put(SendParcel())
            raise RuntimeError
        with transaction.atomic():
            with suppress(RuntimeError), transaction.atomic():
                outbox.put(SendParcel(note="undone"))
                raise RuntimeError
            outbox.put(SendParcel(note="kept"))
    assert basket.notes == ["kept"]


def test_what_a_handler_answers_is_published_after_its_commit(counter: Counter) -> None:
    basket = Basket(ready=False)  # so that it sweeps nothing besides

    def handle(command: SendParcel) -> ParcelSent:
        with transaction.atomic():
            outbox.put(ParcelSent(note="in a savepoint"))
        assert basket.notes == []
        return ParcelSent(note="answered")

    counter.on_parcel = handle
    letter = post()
    with running(basket):
        hand(letter)
        assert sorted(basket.notes) == ["answered", "in a savepoint"]
        hand(letter)
        assert len(basket.notes) == 2, "what was handled before answers nothing"


def test_a_relay_s_own_messages_are_leased_to_it_from_the_start() -> None:
    basket = Basket(confirms=False)
    with running(basket):
        post()
        assert take_pending(10) == []
        expire_leases()
        assert len(take_pending(10)) == 1


def test_without_a_relay_of_its_own_a_process_leaves_its_messages_to_others() -> None:
    post()
    assert len(take_pending(10)) == 1


def test_what_the_broker_confirms_is_marked_sent() -> None:
    basket = Basket()
    with running(basket):
        post()
        wait_until(lambda: not pending(), 5, "the message is marked")
    row = OutboxMessage.objects.get()
    assert row.sent_at is not None
    assert row.sends == 1


def test_what_the_broker_does_not_confirm_is_not_marked() -> None:
    basket = Basket(confirms=False)
    mine = by_hand(basket)
    post()
    mine.sweep()
    mine.mark()
    assert pending() == 1
    basket.confirm()
    mine.mark()
    assert pending() == 0


# --- Leases ---------------------------------------------------------------------------------------


def test_a_swept_message_is_leased_and_not_swept_again() -> None:
    first, second = Basket(confirms=False), Basket(confirms=False)
    post()
    by_hand(first).sweep()
    by_hand(second).sweep()
    assert (len(first.letters), len(second.letters)) == (1, 0)


def test_the_lease_of_a_relay_that_died_runs_out_and_another_takes_over() -> None:
    dead, alive = Basket(confirms=False), Basket()
    letter = post()
    by_hand(dead).sweep()
    expire_leases()
    other = by_hand(alive)
    other.sweep()
    assert alive.letters == [letter]
    other.mark()
    assert pending() == 0


def test_a_message_that_was_marked_is_never_taken_again() -> None:
    letter = post()
    mark_sent([letter.envelope.message_id])
    expire_leases()
    OutboxMessage.objects.update(available_at=Now() - timedelta(days=1))
    assert take_pending(10) == []


def test_a_relay_whose_broker_is_away_leases_nothing() -> None:
    basket = Basket(ready=False)
    post()
    before = OutboxMessage.objects.get().available_at
    by_hand(basket).sweep()
    assert basket.letters == []
    assert OutboxMessage.objects.get().available_at == before
    basket.ready = True
    by_hand(basket).sweep()
    assert len(basket.letters) == 1


def test_a_sweep_takes_the_oldest_first_and_all_of_them(settings: Settings) -> None:
    with transaction.atomic():
        for number in range(1203):
            outbox.put(SendParcel(note=str(number)))
    basket = Basket()
    mine = by_hand(basket)
    mine.sweep()
    mine.mark()
    assert sorted(map(int, basket.notes)) == list(range(1203))
    assert len(set(basket.notes)) == 1203
    assert pending() == 0


def test_a_broker_that_is_full_gets_no_more() -> None:
    class Full(Basket):
        def publish(self, letters: Iterable[Letter]) -> None:
            super().publish(letters)
            self.ready = False

    with transaction.atomic():
        for number in range(1100):
            outbox.put(SendParcel(note=str(number)))
    basket = Full()
    by_hand(basket).sweep()
    assert len(basket.letters) == 500
    assert OutboxMessage.objects.filter(available_at__lte=Now()).count() == 600


def test_a_failed_message_is_leased_as_well(counter: Counter) -> None:
    counter.on_parcel = lambda command: 1 / 0
    letter = post(saga=UUID(int=5))
    hand(letter)
    assert take_failed(10) == []
    expire_leases()
    (again,) = take_failed(10)
    assert again.envelope == letter.envelope
    assert again.payload == letter.payload
    assert take_failed(10) == []
    assert claim(letter).status == "failed"


def test_two_relays_at_once_never_take_the_same_message(counter: Counter) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    counter.on_parcel = lambda command: 1 / 0
    with transaction.atomic():
        for number in range(300):
            outbox.put(SendParcel(note=str(number)), reply_to="tests.sender")
    for each in OutboxMessage.objects.all()[:50]:
        hand(relay.letter_of(each))
    expire_leases()
    together = threading.Barrier(4)
    taken: list[list[UUID]] = []

    def take(source: Callable[[int], list[Letter]]) -> None:
        together.wait(10)
        mine: list[UUID] = []
        while batch := source(7):
            mine.extend(letter.envelope.message_id for letter in batch)
        taken.append(mine)
        connection.close()

    threads = [threading.Thread(target=take, args=[take_pending]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    everything = [message_id for mine in taken for message_id in mine]
    assert len(everything) == len(set(everything)) == 300
    assert sum(bool(mine) for mine in taken) > 1, "they took turns"


def test_a_row_that_another_relay_is_taking_is_skipped_and_not_waited_for() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    first, second = post(), post()
    taken: list[Letter] = []

    def take() -> None:
        taken.extend(take_pending(10))
        connection.close()

    with transaction.atomic():
        OutboxMessage.objects.select_for_update().get(pk=first.envelope.message_id)
        thread = threading.Thread(target=take)
        thread.start()
        thread.join(5)
    assert taken == [second]


# --- Time -----------------------------------------------------------------------------------------


def test_a_delayed_message_is_published_when_it_is_due() -> None:
    basket = Basket()
    with running(basket):
        for number in range(3):
            began = time.monotonic()
            post(SendParcel(note=str(number)), delay=0.3)
            assert len(basket.letters) == number
            wait_until(lambda wanted=number: len(basket.letters) > wanted, 5, "it is published")
            assert 0.29 <= time.monotonic() - began < 0.6, "neither early nor with the next regular sweep"


def test_a_delayed_message_that_another_process_put_is_published_too() -> None:
    basket = Basket()
    post(delay=0.2)
    with running(basket):
        wait_until(lambda: basket.letters, 5, "it is published")


def test_a_failed_message_is_published_when_its_next_attempt_is_due(
    counter: Counter, settings: Settings
) -> None:
    settings.MESSAGING = settings.MESSAGING | {"RETRY_SECONDS": 0.3}
    counter.on_parcel = lambda command: 1 / 0
    letter = post()
    mark_sent([letter.envelope.message_id])
    basket = Basket()
    with running(basket):
        began = time.monotonic()
        hand(letter)
        wait_until(lambda: basket.letters, 5, "it is published")
        assert 0.2 <= time.monotonic() - began < 0.7
    assert basket.letters == [letter]


def test_much_that_falls_due_at_once_is_taken_together() -> None:
    class Counted(Basket):
        rounds = 0

        def publish(self, letters: Iterable[Letter]) -> None:
            new = list(letters)
            self.rounds += bool(new)
            super().publish(new)

    basket = Counted()
    with running(basket):
        with transaction.atomic():
            for _ in range(200):
                outbox.put(SendParcel(), delay=0.2)
        wait_until(lambda: len(basket.letters) == 200, 5, "they are published")
    assert basket.rounds <= 5


# --- The end --------------------------------------------------------------------------------------


def test_a_relay_that_stops_marks_what_the_broker_has() -> None:
    basket = Basket(confirms=False)
    with running(basket):
        post()
    assert basket.stopped
    assert pending() == 0
    assert relay.local() is None


def test_after_the_relay_stopped_messages_are_left_to_others() -> None:
    basket = Basket()
    with running(basket):
        pass
    post()
    assert basket.letters == []
    assert len(take_pending(10)) == 1


def test_a_relay_survives_a_row_that_it_cannot_read() -> None:
    """For example a dead message that somebody edited and set to be tried again."""
    basket = Basket()
    InboxMessage.objects.create(
        message_id=UUID(int=1),
        handler="tests.SendParcel",
        type="SendParcel",
        status="failed",
        next_attempt_at=timezone.now() - timedelta(seconds=1),
        message={"edited": "badly"},
    )
    with running(basket) as local:
        post(SendParcel(note="good"))
        wait_until(lambda: not pending(), 5, "the good one is published and marked")
        assert basket.notes == ["good"]
        assert local.is_alive()


def test_a_relay_survives_a_publisher_that_raises_once() -> None:
    class Clumsy(Basket):
        dropped = False

        def publish(self, letters: Iterable[Letter]) -> None:
            new = list(letters)
            if new and not self.dropped:
                self.dropped = True
                raise RuntimeError("dropped it")
            super().publish(new)

    post()
    basket = Clumsy()
    with running(basket) as local:
        wait_until(lambda: basket.dropped, 5, "it was dropped")
        expire_leases()
        wait_until(lambda: basket.letters, 5, "it is published after all")
        assert local.is_alive()
