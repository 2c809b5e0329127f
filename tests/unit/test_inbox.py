"""The inbox: a message is handled once, and a failure is a row."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.utils import timezone
from pytest_django import Settings

from pizzahouse.messaging import outbox, outstanding
from pizzahouse.messaging.envelope import Envelope, Letter
from pizzahouse.messaging.errors import AlreadyHandled
from pizzahouse.messaging.handling import deliver as receive
from pizzahouse.messaging.handling import handlers
from pizzahouse.messaging.inbox import Outcome, complete
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from pizzahouse.messaging.testing import deliver, hand, letters, sent
from tests.unit.postoffice import (
    OFFICE,
    Counter,
    ParcelSent,
    SendParcel,
    claim,
    committed,
    leave_a_trace,
    post,
    traces,
)

SAGA = UUID(int=5)


class Fails:
    """A handler that raises so many times, and then does its work."""

    def __init__(self, times: int, error: Callable[[], Exception] = lambda: OSError("the oven is cold")):
        self.times, self.error, self.calls = times, error, 0

    def __call__(self, command: SendParcel) -> ParcelSent:
        self.calls += 1
        leave_a_trace()
        if self.calls <= self.times:
            raise self.error()
        return ParcelSent()


def hand_in_a_new_thread(letter: Letter) -> Exception | None:
    """As a worker's thread does it, which has no connection yet; returns what it raises."""
    raised: list[Exception] = []

    def work() -> None:
        try:
            hand(letter)
        except Exception as error:  # noqa: BLE001  (the test looks at it)
            raised.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    return raised[0] if raised else None


# --- Once -----------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_message_that_is_delivered_three_times_is_handled_once(counter: Counter) -> None:
    counter.on_parcel = Fails(0)
    letter = post(saga=SAGA)
    for _ in range(3):
        hand(letter)
    assert traces() == 1
    assert sent("ParcelSent") == [ParcelSent()]
    kept = claim(letter)
    assert (kept.status, kept.attempts, kept.repeats) == ("done", 1, 2)
    assert (kept.handler, kept.type, kept.saga_id) == ("tests.SendParcel", "SendParcel", SAGA)


@pytest.mark.django_db
def test_the_same_message_is_handled_once_at_each_of_its_addresses() -> None:
    envelope = Envelope(message_id=UUID(int=1), type="SendParcel", destination=OFFICE)
    for handler in ("one", "other"):
        with transaction.atomic(), outbox.collecting(envelope) as work:
            complete(handler, Outcome(), work)
    assert sorted(InboxMessage.objects.values_list("handler", flat=True)) == ["one", "other"]


@pytest.mark.django_db
def test_a_second_claim_raises_so_that_its_work_is_rolled_back() -> None:
    envelope = Envelope(message_id=UUID(int=1), type="SendParcel", destination=OFFICE)
    with transaction.atomic(), outbox.collecting(envelope) as work:
        complete("one", Outcome(), work)
    told = pytest.raises(AlreadyHandled, match=rf"SendParcel {UUID(int=1)} at one")
    with told, transaction.atomic(), outbox.collecting(envelope) as work:
        leave_a_trace()
        complete("one", Outcome(), work)
    assert traces() == 0


@committed
def test_a_delivery_that_fails_half_way_leaves_nothing(counter: Counter) -> None:
    counter.on_parcel = Fails(1)
    letter = post()
    hand(letter)
    assert traces() == 0
    assert sent("ParcelSent") == []
    hand(letter)
    assert traces() == 1
    assert sent("ParcelSent") == [ParcelSent()]


@pytest.mark.django_db
def test_what_a_handler_did_outside_its_own_tables_is_undone_with_it(counter: Counter) -> None:
    def handle(command: SendParcel) -> None:
        OutboxMessage.objects.update(type="changed")
        raise RuntimeError

    counter.on_parcel = handle
    hand(post())
    assert OutboxMessage.objects.get().type == "SendParcel"


# --- Failures -------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_handler_that_fails_three_times_and_then_succeeds_is_counted(counter: Counter) -> None:
    counter.on_parcel = Fails(3)
    letter = post()
    assert deliver(later=True) == 4 + 1  # and its answer
    kept = claim(letter)
    assert (kept.status, kept.attempts) == ("done", 4)
    assert kept.next_attempt_at is None
    assert [each["attempt"] for each in kept.failures or ()] == [1, 2, 3]
    assert {each["error"] for each in kept.failures or ()} == {"OSError: the oven is cold"}
    assert traces() == 1


@pytest.mark.django_db
def test_the_pauses_between_attempts_grow(counter: Counter, settings: Settings) -> None:
    settings.MESSAGING = settings.MESSAGING | {"RETRY_SECONDS": 10.0}
    counter.on_parcel = Fails(5)
    letter = post()
    deliver(later=True)
    pauses = [each["next_attempt_in"] for each in claim(letter).failures or ()]
    for number, pause in enumerate(pauses):
        assert 0.75 * 10 * 2**number <= pause <= 10 * 2**number
    assert pauses == sorted(pauses)


@pytest.mark.django_db
def test_a_pause_never_exceeds_a_quarter_of_an_hour(counter: Counter, settings: Settings) -> None:
    settings.MESSAGING = settings.MESSAGING | {"RETRY_SECONDS": 3600.0}
    counter.on_parcel = Fails(1)
    letter = post()
    hand(letter)
    assert claim(letter).failures[0]["next_attempt_in"] <= 900


@pytest.mark.django_db
def test_a_message_that_has_failed_for_weeks_fails_once_more(counter: Counter, settings: Settings) -> None:
    settings.MESSAGING = settings.MESSAGING | {"MAX_ATTEMPTS": 1_000_000}
    counter.on_parcel = Fails(99)
    letter = post()
    hand(letter)
    InboxMessage.objects.update(attempts=5000)
    hand(letter)
    assert (claim(letter).status, claim(letter).attempts) == ("failed", 5001)
    assert claim(letter).failures[-1]["next_attempt_in"] <= 900


@pytest.mark.django_db
def test_a_failed_message_is_due_when_its_record_says(counter: Counter, settings: Settings) -> None:
    settings.MESSAGING = settings.MESSAGING | {"RETRY_SECONDS": 100.0}
    counter.on_parcel = Fails(1)
    letter = post()
    hand(letter)
    kept = claim(letter)
    assert kept.status == "failed"
    assert kept.next_attempt_at is not None
    due_in = kept.next_attempt_at - kept.handled_at
    said = timedelta(seconds=kept.failures[0]["next_attempt_in"])
    assert abs(due_in - said) < timedelta(seconds=1)
    assert abs(datetime.fromisoformat(kept.failures[0]["at"]) - timezone.now()) < timedelta(minutes=1)
    OutboxMessage.objects.update(sent_at=timezone.now())
    assert deliver() == 0, "it is not due yet"


@pytest.mark.django_db
def test_after_the_last_attempt_a_message_is_dead_with_its_traceback(
    counter: Counter, settings: Settings
) -> None:
    settings.MESSAGING = settings.MESSAGING | {"MAX_ATTEMPTS": 3}
    counter.on_parcel = handler = Fails(99)
    letter = post()
    assert deliver(later=True) == 3
    kept = claim(letter)
    assert (kept.status, kept.attempts, kept.next_attempt_at) == ("dead", 3, None)
    assert kept.error == "OSError: the oven is cold"
    assert "raise self.error()" in kept.traceback
    assert kept.failures is not None
    assert kept.failures[-1]["next_attempt_in"] is None
    assert kept.message["payload"] == {"weight": 1, "note": ""}
    assert deliver(later=True) == 0
    assert handler.calls == 3


@pytest.mark.django_db
def test_a_dead_message_that_is_delivered_again_stays_dead(counter: Counter, settings: Settings) -> None:
    settings.MESSAGING = settings.MESSAGING | {"MAX_ATTEMPTS": 1}
    counter.on_parcel = Fails(1)
    letter = post()
    hand(letter)
    assert claim(letter).status == "dead"
    hand(letter)  # its handler would succeed now, but it is a human's turn
    assert (claim(letter).status, traces(), sent("ParcelSent")) == ("dead", 0, [])


@pytest.mark.django_db
def test_a_failure_without_end_does_not_hold_up_the_others(counter: Counter) -> None:
    def handle(command: SendParcel) -> ParcelSent:
        if command.note == "bad":
            raise RuntimeError
        return ParcelSent(note=command.note)

    counter.on_parcel = handle
    for note in ("a", "bad", "b"):
        post(SendParcel(note=note))
    deliver()
    assert [message.note for message in sent("ParcelSent")] == ["a", "b"]  # type: ignore[attr-defined]


ARRIVING = {
    "an invalid payload": ({"weight": 0}, "SendParcel", "InvalidMessage"),
    "no payload": (None, "SendParcel", "InvalidMessage"),
    "an unknown type": ({}, "FlyToTheMoon", "UnknownMessage"),
}


def _receive(payload: object, name: str = "SendParcel", **envelope: object) -> InboxMessage:
    arguments = {"message_id": str(UUID(int=9)), "type": name, "destination": OFFICE} | envelope
    receive(handlers()["tests.SendParcel"], envelope=arguments, payload=payload)
    return InboxMessage.objects.get()


@pytest.mark.django_db
@pytest.mark.parametrize(("payload", "name", "error"), ARRIVING.values(), ids=ARRIVING)
def test_what_no_retry_can_mend_is_dead_at_once(payload: object, name: str, error: str) -> None:
    kept = _receive(payload, name)
    assert (kept.status, kept.attempts) == ("dead", 1)
    assert kept.error.startswith(f"{error}: ")
    assert kept.message["payload"] == payload


@pytest.mark.django_db
def test_an_answer_that_nobody_can_get_is_dead_at_once(counter: Counter) -> None:
    counter.on_parcel = lambda command: ParcelSent()
    letter = post(reply_to="")
    hand(letter)
    assert claim(letter).status == "dead"
    assert claim(letter).error.startswith("UnknownDestination: ")


@pytest.mark.django_db
def test_a_message_for_another_handler_is_dead_at_once_and_not_handled(counter: Counter) -> None:
    counter.on_parcel = Fails(0)
    kept = _receive({"note": "I am an event"}, "ParcelSent")
    assert (kept.status, traces()) == ("dead", 0)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "envelope",
    [
        {"type": "T" * 101},
        {"type": "\0"},
        {"type": "SendParcel", "note": "\0"},
        {"trace": "t" * 56},
        {"reply_to": "r" * 101},
    ],
    ids=["long type", "NUL type", "NUL in an unknown field", "long trace", "long reply_to"],
)
def test_an_envelope_that_no_column_holds_is_kept_dead(counter: Counter, envelope: dict[str, str]) -> None:
    def handle(command: SendParcel) -> None:
        raise RuntimeError

    counter.on_parcel = handle
    kept = _receive({"weight": 0}, **envelope)
    assert kept.status == "dead"


@pytest.mark.django_db
def test_a_payload_with_a_text_that_no_database_keeps_is_kept_dead() -> None:
    kept = _receive({"weight": 0, "note": "a\0b"})
    assert kept.status == "dead"


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x" * 1_000_000], ids=["NUL", "surrogate", "long"])
def test_whatever_an_error_says_it_can_be_recorded(counter: Counter, text: str) -> None:
    counter.on_parcel = Fails(1, lambda: ValueError(text))
    letter = post()
    hand(letter)
    assert claim(letter).status == "failed"


class Speechless(Exception):
    """An error that cannot even be told."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.django_db
def test_an_error_that_cannot_be_told_is_recorded_all_the_same(counter: Counter) -> None:
    counter.on_parcel = Fails(1, Speechless)
    letter = post()
    hand(letter)
    assert claim(letter).status == "failed"


@committed
@pytest.mark.parametrize(("payload", "name", "error"), ARRIVING.values(), ids=ARRIVING)
def test_what_no_retry_can_mend_is_dead_at_once_on_a_thread_without_a_connection(
    payload: object, name: str, error: str
) -> None:
    raised: list[Exception] = []

    def work() -> None:
        try:
            _receive(payload, name)
        except Exception as reason:  # noqa: BLE001  (the test looks at it)
            raised.append(reason)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert raised == []
    assert InboxMessage.objects.get().status == "dead"


@committed
def test_a_handler_that_closes_its_connection_is_delivered_again(counter: Counter) -> None:
    def handle(command: SendParcel) -> None:
        leave_a_trace()
        connection.connection.close()
        raise OSError

    counter.on_parcel = handle
    letter = post()
    error = hand_in_a_new_thread(letter)
    assert error is not None or claim(letter).status == "failed"
    counter.on_parcel = Fails(0)
    hand(letter)
    assert claim(letter).status == "done"
    assert traces() == 1


@committed
def test_a_failure_is_recorded_on_a_thread_without_a_connection(counter: Counter) -> None:
    counter.on_parcel = Fails(1)
    letter = post()
    assert hand_in_a_new_thread(letter) is None
    assert claim(letter).status == "failed"


@pytest.mark.django_db
def test_a_failure_after_the_message_was_handled_is_a_repeat(counter: Counter) -> None:
    counter.on_parcel = Fails(0)
    letter = post()
    hand(letter)
    counter.on_parcel = Fails(9)
    hand(letter)
    kept = claim(letter)
    assert (kept.status, kept.attempts, kept.repeats, kept.error) == ("done", 1, 1, "")


# --- Sent again -----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_dead_message_is_handled_when_it_is_sent_again_and_its_cause_is_mended(
    counter: Counter, settings: Settings
) -> None:
    settings.MESSAGING = settings.MESSAGING | {"MAX_ATTEMPTS": 2}
    counter.on_parcel = Fails(2)
    letter = post(saga=SAGA)
    deliver(later=True)
    assert claim(letter).status == "dead"
    again = outstanding.send_again(SAGA)
    assert [(each.message_id, each.why) for each in again] == [(letter.envelope.message_id, "dead")]
    deliver()
    kept = claim(letter)
    assert (kept.status, kept.attempts, len(kept.failures or ())) == ("done", 3, 2)
    assert traces() == 1
    assert len(letters("SendParcel")) == 1, "it keeps its id"


@pytest.mark.django_db
def test_a_dead_message_that_fails_again_is_dead_again(counter: Counter, settings: Settings) -> None:
    settings.MESSAGING = settings.MESSAGING | {"MAX_ATTEMPTS": 2}
    counter.on_parcel = Fails(99)
    letter = post(saga=SAGA)
    deliver(later=True)
    outstanding.send_again(SAGA)
    assert deliver(later=True) == 1
    assert (claim(letter).status, claim(letter).attempts) == ("dead", 3)


@pytest.mark.django_db
def test_sending_again_twice_handles_once(counter: Counter) -> None:
    counter.on_parcel = Fails(0)
    post(saga=SAGA)
    outstanding.send_again(SAGA)
    outstanding.send_again(SAGA)
    deliver(twice=True)
    assert traces() == 1
    assert outstanding.send_again(SAGA) == []


@pytest.mark.django_db
def test_sending_again_leaves_alone_what_is_not_due_yet(counter: Counter) -> None:
    post(saga=SAGA, delay=3600)
    assert outstanding.send_again(SAGA) == []
    assert deliver() == 0


@pytest.mark.django_db
def test_sending_again_leaves_other_sagas_alone(counter: Counter) -> None:
    counter.on_parcel = Fails(99)
    letter, other = post(saga=SAGA), post(saga=UUID(int=6))
    deliver()
    before = claim(other).next_attempt_at
    outstanding.send_again(SAGA)
    assert deliver() == 1
    assert claim(other).next_attempt_at == before
    assert claim(letter).attempts == 2
