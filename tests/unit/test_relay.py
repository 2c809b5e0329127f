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
from msgspec import structs
from pytest_django import Settings

from pizzahouse.messaging import outbox, relay
from pizzahouse.messaging.envelope import Letter
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from pizzahouse.messaging.relay import Relay, mark_sent, take_failed, take_pending, take_unhandled
from pizzahouse.messaging.testing import hand
from tests.servers import wait_until
from tests.unit.postoffice import (
    Counter,
    ParcelSent,
    SendParcel,
    claim,
    committed,
    leave_a_trace,
    post,
    traces,
)

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
    basket = Basket(ready=False, confirms=False)  # so that it does not take what this test takes
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
    assert again.envelope == structs.replace(letter.envelope, sends=1)
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
    assert len(everything) == len(set(everything)) == 250, "what was handled is not the outbox's any more"
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


# --- Sent is not handled --------------------------------------------------------------------------


def row_of(letter: Letter) -> OutboxMessage:
    return OutboxMessage.objects.get(pk=letter.envelope.message_id)


def mark(letter: Letter) -> OutboxMessage:
    """The broker has it; returns what is known of it now."""
    mark_sent([letter.envelope.message_id])
    return row_of(letter)


def come_to_look() -> None:
    """It is time to look whether what was sent was handled."""
    unsettled = OutboxMessage.objects.filter(sent_at__isnull=False, available_at__isnull=False)
    unsettled.update(available_at=Now() - timedelta(seconds=1))


def test_what_was_handled_before_it_is_marked_is_settled(counter: Counter) -> None:
    handled, failed = post(), post()
    hand(handled)
    counter.on_parcel = lambda command: 1 / 0
    hand(failed)
    mark_sent([letter.envelope.message_id for letter in (handled, failed)])
    for row in map(row_of, (handled, failed)):
        assert row.sent_at is not None
        assert (row.sends, row.available_at) == (1, None), "what failed is the inbox's to try again"
    come_to_look()
    assert take_unhandled(10) == []


@pytest.mark.parametrize(
    ("sends", "pause"),
    [(0, 7), (1, 14), (2, 28), (5, 224), (13, 57_344), (14, 86_400), (40, 86_400), (1000, 86_400)],
)
def test_what_was_not_handled_is_looked_at_again_after_ever_longer_pauses(
    settings: Settings, sends: int, pause: float
) -> None:
    settings.MESSAGING = settings.MESSAGING | {"RESEND_SECONDS": 7.0}
    letter, handled = post(), post()
    OutboxMessage.objects.update(sends=sends)
    hand(handled)
    mark_sent([letter.envelope.message_id, handled.envelope.message_id])
    row = row_of(letter)
    assert row.sends == sends + 1
    assert row.sent_at is not None
    assert row.available_at is not None
    assert abs((row.available_at - row.sent_at).total_seconds() - pause) < 0.5
    assert row_of(handled).available_at is None


def test_what_was_sent_different_numbers_of_times_is_marked_together(settings: Settings) -> None:
    settings.MESSAGING = settings.MESSAGING | {"RESEND_SECONDS": 10.0}
    parcels = [post() for _ in range(6)]
    for number, letter in enumerate(parcels):
        OutboxMessage.objects.filter(pk=letter.envelope.message_id).update(sends=number % 3)
    mark_sent([letter.envelope.message_id for letter in parcels])
    pauses = [
        round((row.available_at - row.sent_at).total_seconds())
        for row in map(row_of, parcels)
        if row.available_at and row.sent_at
    ]
    assert pauses == [10, 20, 40] * 2


def test_what_is_marked_again_does_not_disturb_what_is_not_there() -> None:
    letter = post()
    mark_sent([letter.envelope.message_id, UUID(int=1)])
    mark_sent([])
    assert row_of(letter).sends == 1


def test_before_its_time_nobody_looks_at_what_was_sent() -> None:
    mark(post())
    assert take_unhandled(10) == take_pending(10) == []


def test_what_was_sent_and_not_handled_is_sent_again_under_the_same_id(counter: Counter) -> None:
    counter.on_parcel = lambda command: leave_a_trace()
    letter = post(saga=UUID(int=5))
    for sends in (1, 2, 3):
        first_sent = mark(letter).sent_at
        come_to_look()
        assert take_pending(10) == [], "it is not pending"
        (again,) = take_unhandled(10)
        assert again.envelope == structs.replace(letter.envelope, sends=sends)
        assert again.payload == letter.payload
        assert take_unhandled(10) == [], "it is leased"
        assert row_of(letter).sent_at == first_sent, "it was sent, whatever comes of the next time"
    hand(again)
    hand(letter)
    assert (claim(letter).status, claim(letter).repeats, traces()) == ("done", 1, 1)


def test_the_lease_of_what_is_sent_again_runs_out_as_well() -> None:
    mark(post())
    for _ in range(2):
        come_to_look()
        assert len(take_unhandled(10)) == 1


def test_what_was_handled_meanwhile_is_settled_and_not_sent(counter: Counter) -> None:
    done, failed, lost = post(), post(), post()
    for letter in (done, failed, lost):
        mark(letter)
    hand(done)
    counter.on_parcel = lambda command: 1 / 0
    hand(failed)
    come_to_look()
    assert [letter.envelope.message_id for letter in take_unhandled(10)] == [lost.envelope.message_id]
    assert row_of(done).available_at is None
    assert row_of(failed).available_at is None
    assert row_of(done).sends == 1


def test_much_that_was_handled_does_not_hide_what_was_not() -> None:
    parcels = [post() for _ in range(7)]
    for letter in parcels:
        mark(letter)
    for letter in parcels[:6]:
        hand(letter)
    come_to_look()
    assert [letter.envelope.message_id for letter in take_unhandled(2)] == [parcels[6].envelope.message_id]
    assert OutboxMessage.objects.filter(available_at=None).count() == 6


def test_what_was_handled_and_could_not_be_marked_is_settled_and_not_sent() -> None:
    """For example because its relay died in between."""
    letter = post()
    hand(letter)
    assert take_pending(10) == []
    row = row_of(letter)
    assert row.available_at is None
    assert row.sent_at is not None


def test_a_relay_looks_for_what_the_broker_lost_and_stops_when_it_is_handled(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MESSAGING = settings.MESSAGING | {"RESEND_SECONDS": 0.05}
    monkeypatch.setattr(relay, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(relay, "SWEEP_SECONDS", 0.05)
    basket = Basket()
    with running(basket):
        letter = post()
        wait_until(lambda: len(basket.letters) >= 3, 10, "it is sent again and again")
        hand(basket.letters[-1])
        wait_until(lambda: row_of(letter).available_at is None, 10, "it is settled")
    assert {each.envelope.message_id for each in basket.letters} == {letter.envelope.message_id}
    assert [each.envelope.sends for each in basket.letters] == list(range(len(basket.letters)))
    assert claim(letter).status == "done"


def test_a_relay_looks_now_and_then_only(monkeypatch: pytest.MonkeyPatch) -> None:
    basket = Basket()
    mine = by_hand(basket)
    mine.sweep()
    mark(post())
    come_to_look()
    mine.sweep()
    assert basket.letters == []
    monkeypatch.setattr(relay, "CHECK_SECONDS", 0.0)
    mine.sweep()
    assert len(basket.letters) == 1


@pytest.mark.parametrize(
    ("since", "lease"), [(0, 60), (59, 60), (120, 120), (900, 900), (86_400, 86_400)], ids=str
)
def test_the_lease_of_a_failed_message_grows_with_the_time_since_its_last_attempt(
    counter: Counter, since: float, lease: float
) -> None:
    counter.on_parcel = lambda command: 1 / 0
    letter = post()
    hand(letter)
    now = timezone.now()
    InboxMessage.objects.update(
        handled_at=now - timedelta(seconds=since), next_attempt_at=now - timedelta(seconds=1)
    )
    assert len(take_failed(10)) == 1
    until = claim(letter).next_attempt_at
    assert until is not None
    assert abs((until - now).total_seconds() - lease) < 3
    assert take_failed(10) == []


def test_the_pauses_of_what_nobody_takes_double(counter: Counter) -> None:
    """Its queue is long: it is sent again less and less often."""
    counter.on_parcel = lambda command: 1 / 0
    letter = post()
    hand(letter)
    leases: list[float] = []
    for _ in range(4):
        kept = claim(letter)
        assert kept.next_attempt_at is not None
        passed = kept.next_attempt_at - timezone.now() + timedelta(seconds=1)
        InboxMessage.objects.update(
            handled_at=kept.handled_at - passed, next_attempt_at=kept.next_attempt_at - passed
        )
        assert len(take_failed(10)) == 1
        until = claim(letter).next_attempt_at
        assert until is not None
        leases.append((until - timezone.now()).total_seconds())
    assert all(-2 < lease - wanted < 20 for lease, wanted in zip(leases, (60, 60, 120, 240), strict=True))


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
    assert [each.envelope.message_id for each in basket.letters] == [letter.envelope.message_id]


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
