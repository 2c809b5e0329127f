"""Dead letters that several operators, and workers, get hold of at the same moment; and their groups in a
real database."""

import random
import threading
from collections import Counter as Tally
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from pytest_django import Settings

from orders.explorer.memory import in_memory
from pizzahouse.messaging import dead_letters, failures, outstanding, relay
from pizzahouse.messaging.envelope import Letter
from pizzahouse.messaging.errors import MessagingError, NotDead, NotSkippable
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from pizzahouse.messaging.testing import deliver, hand, sent
from tests.threads import at_once, wait_for_waiters
from tests.unit.postoffice import (
    Counter,
    ParcelSent,
    SendParcel,
    claim,
    committed,
    leave_a_trace,
    post,
    redeliver,
    traces,
)

pytestmark = committed
THREADS = 8
SAGA = UUID(int=5)
WHO = {"by": "anna", "why": "a slip of the pen"}
ROUNDS = 5


def fail(command: SendParcel) -> None:
    raise OSError("the scales are broken")


def answer(command: SendParcel) -> ParcelSent:
    leave_a_trace()
    return ParcelSent(note=command.note)


@pytest.fixture(autouse=True)
def _one_attempt(settings: Settings) -> None:
    settings.MESSAGING = settings.MESSAGING | {"MAX_ATTEMPTS": 1}


def a_dead_one(counter: Counter) -> Letter:
    """A parcel that could not be sent; from now on the counter works, and leaves a trace."""
    counter.on_parcel = fail
    letter = post(SendParcel(note="books"), saga=SAGA)
    relay.mark_sent([letter.envelope.message_id])
    hand(letter)
    counter.on_parcel = answer
    return letter


def replace(letter: Letter) -> None:
    dead_letters.replace(claim(letter), {"note": "replaced"}, **WHO)


def discard(letter: Letter) -> None:
    dead_letters.discard(claim(letter), **WHO)


def skip(letter: Letter) -> None:
    dead_letters.skip(letter.envelope.message_id, ParcelSent(note="skipped"), **WHO)


def send_again(letter: Letter) -> None:
    outstanding.resend([letter.envelope.message_id])


Press = Callable[[Letter], None]
# What there is afterwards in the place of the parcel with books.
note_of: dict[Press, list[str]] = {replace: ["replaced"], discard: [], skip: ["skipped"]}


def press(*buttons: Press, on: Letter) -> tuple[list[Press], list[MessagingError]]:
    """All press their buttons at once: which ones did something, and what the others were told."""
    done: list[Press] = []
    refused: list[MessagingError] = []

    def one(button: Press) -> None:
        try:
            button(on)
        except MessagingError as error:
            refused.append(error)
        else:
            done.append(button)

    at_once(*(lambda button=button: one(button) for button in buttons))
    return done, refused


# --- Several operators ----------------------------------------------------------------------------


@pytest.mark.parametrize(("button", "error"), [(replace, NotDead), (discard, NotDead), (skip, NotSkippable)])
def test_of_eight_who_press_the_same_button_one_mends_it_and_the_others_are_told(
    counter: Counter, button: Press, error: type[MessagingError]
) -> None:
    for _ in range(ROUNDS):
        letter = a_dead_one(counter)
        done, refused = press(*[button] * THREADS, on=letter)
        assert len(done) == 1
        assert [type(each) for each in refused] == [error] * (THREADS - 1)
        assert claim(letter).status == "ignored"
        put = OutboxMessage.objects.filter(causation_id=letter.envelope.message_id)
        assert put.count() == (button is not discard)
    deliver(later=True)
    assert traces() == (ROUNDS if button is replace else 0)


def test_of_those_who_press_different_buttons_one_mends_it(counter: Counter) -> None:
    for _ in range(ROUNDS):
        letter = a_dead_one(counter)
        done, refused = press(replace, discard, skip, replace, discard, skip, on=letter)
        assert (len(done), len(refused)) == (1, 5)
        word = {replace: "replaced by", discard: "discarded by anna", skip: "skipped by anna"}[done[0]]
        assert claim(letter).detail.startswith(word)
        put = OutboxMessage.objects.filter(causation_id=letter.envelope.message_id)
        assert [row.payload["note"] for row in put] == note_of[done[0]]


@pytest.mark.parametrize("button", [replace, discard, skip])
def test_what_is_sent_again_at_that_moment_is_either_sent_again_or_mended(
    counter: Counter, button: Press
) -> None:
    for _ in range(ROUNDS):
        letter = a_dead_one(counter)
        done, refused = press(button, send_again, on=letter)
        mended = button in done
        assert (mended, len(refused)) in ((True, 0), (False, 1))
        deliver(later=True)
        assert claim(letter).status == ("ignored" if mended else "done")
        notes = [message.note for message in sent("ParcelSent") if isinstance(message, ParcelSent)]
        assert notes == (note_of[button] if mended else ["books"])
        OutboxMessage.objects.all().delete()


# --- And workers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["first", "again", "failed before"])
def test_a_command_that_is_skipped_while_workers_handle_it_is_either_skipped_or_handled(
    counter: Counter, way: str
) -> None:
    for _ in range(ROUNDS):
        letter = post(SendParcel(note="books"), saga=SAGA)
        if way == "failed before":
            letter = a_dead_one(counter)
            send_again(letter)
        counter.on_parcel = answer
        handle = redeliver if way == "again" else hand
        before = traces()
        done, _ = press(handle, handle, skip, on=letter)
        skipped = skip in done
        assert claim(letter).status == ("ignored" if skipped else "done")
        assert traces() - before == (not skipped)
        answers = OutboxMessage.objects.filter(causation_id=letter.envelope.message_id)
        assert [row.payload["note"] for row in answers] == ["skipped" if skipped else "books"]
        hand(letter)
        assert traces() - before == (not skipped), "what comes later changes nothing"


def test_a_command_that_a_worker_is_about_to_claim_is_waited_for_and_not_skipped(counter: Counter) -> None:
    letter = post(saga=SAGA)
    claimed = threading.Event()

    def finish() -> None:
        with transaction.atomic():
            InboxMessage.objects.create(
                message_id=letter.envelope.message_id,
                handler=letter.envelope.actor_name,
                type="SendParcel",
                status="done",
            )
            claimed.set()
            wait_for_waiters()

    def skip_it() -> None:
        assert claimed.wait(20)
        with pytest.raises(NotSkippable, match="handled at this moment"):
            skip(letter)

    at_once(finish, skip_it)
    assert claim(letter).status == "done"
    assert sent("ParcelSent") == []


def test_a_worker_whose_message_is_skipped_meanwhile_undoes_what_it_did(counter: Counter) -> None:
    begun, skipped = threading.Event(), threading.Event()

    def handle(command: SendParcel) -> ParcelSent:
        leave_a_trace()
        begun.set()
        assert skipped.wait(20)
        return ParcelSent()

    def skip_it() -> None:
        assert begun.wait(20)
        skip(letter)
        skipped.set()

    counter.on_parcel = handle
    letter = post(saga=SAGA)
    at_once(lambda: hand(letter), skip_it)
    assert (claim(letter).status, claim(letter).repeats, traces()) == ("ignored", 1, 0)
    assert sent("ParcelSent") == [ParcelSent(note="skipped")]


def test_a_worker_that_fails_on_what_was_skipped_meanwhile_does_not_bring_it_back(counter: Counter) -> None:
    begun, skipped = threading.Event(), threading.Event()

    def handle(command: SendParcel) -> None:
        begun.set()
        assert skipped.wait(20)
        raise OSError("too late")

    def skip_it() -> None:
        assert begun.wait(20)
        skip(letter)
        skipped.set()

    counter.on_parcel = handle
    letter = post(saga=SAGA)
    at_once(lambda: hand(letter), skip_it)
    assert (claim(letter).status, claim(letter).error, claim(letter).repeats) == ("ignored", "", 1)


def test_what_fails_for_the_first_time_while_it_is_skipped_is_skipped(counter: Counter) -> None:
    letter = post(saga=SAGA)
    recorded = threading.Event()

    def fail_meanwhile() -> None:
        with transaction.atomic():
            failures.record_failure(letter.envelope, "tests.SendParcel", OSError("cold"), {})
            recorded.set()
            wait_for_waiters()

    def skip_it() -> None:
        assert recorded.wait(20)
        skip(letter)

    at_once(fail_meanwhile, skip_it)
    assert (claim(letter).status, claim(letter).error) == ("ignored", "OSError: cold")
    assert len(sent("ParcelSent")) == 1


@pytest.mark.parametrize("button", [replace, discard, skip])
def test_a_worker_to_which_a_dead_one_comes_again_leaves_it_alone(counter: Counter, button: Press) -> None:
    for _ in range(ROUNDS):
        letter = a_dead_one(counter)
        done, _ = press(hand, redeliver, button, hand, on=letter)
        assert button in done
        assert (claim(letter).status, claim(letter).repeats) == ("ignored", 3)
    assert traces() == 0


def test_a_group_is_looked_at_while_it_is_mended(counter: Counter) -> None:
    letters = [a_dead_one(counter) for _ in range(THREADS)]

    def look() -> None:
        for _ in range(20):
            for group in dead_letters.groups(failing=True):
                assert group.example.error == "OSError: the scales are broken"
                list(dead_letters.rows_of(group.kind.key))

    at_once(look, look, *(lambda letter=letter: discard(letter) for letter in letters))
    assert dead_letters.groups() == []


# --- Groups ---------------------------------------------------------------------------------------

PIECES = [
    *("OSError", ": ", " ", "a", "Z", "#", "-", "_", ".", "0", "7", "42", "0x7f", "é", "İ", "ß", "٣", "…"),
    *(
        "\t",
        "\r",
        "\n",
        "\\",
        "%",
        "{}",
        "(",
        ")",
        "[",
        "]",
        "*",
        "+",
        "?",
        "^",
        "$",
        "|",
        "'",
        '"',
        "\U0001f355",
    ),
    "b5d8c3a0-1111-7222-8333-944455556666",
]


def some_errors() -> list[str]:
    """Odd ones, the same each time: many short ones, and some that are as long as what counts of them."""
    chance = random.Random(7)
    short = ["".join(chance.choices(PIECES, k=chance.randrange(6))) for _ in range(500)]
    long = ["x" * chance.randrange(190, 205) + chance.choice(PIECES) * 3 for _ in range(100)]
    return short + long


def grouped(errors: list[str]) -> dict[tuple[str, ...], int]:
    InboxMessage.objects.bulk_create(
        InboxMessage(message_id=uuid4(), handler="a.B", type="B", status="dead", error=error)
        for error in errors
    )
    found = dead_letters.groups(10_000)
    for group in found:
        assert dead_letters.rows_of(group.kind.key).count() == group.count
    assert sum(group.count for group in found) == len(errors)
    return {(group.kind.error, str(group.count)): place for place, group in enumerate(found)}


def test_the_groups_and_their_order_are_the_same_on_postgresql_and_sqlite() -> None:
    errors = some_errors()
    here = grouped(errors)
    with in_memory():
        there = grouped(errors)
    assert list(here) == list(there)
    assert Tally(count for _error, count in here)["1"] < len(here), "some fall together"
