"""Dead letters: grouped by what went wrong; edited and sent again, discarded, or skipped."""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from django.db import connection, models, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from pizzahouse.messaging import dead_letters, failures, handling, history, outstanding, relay
from pizzahouse.messaging.dead_letters import Kind
from pizzahouse.messaging.envelope import Letter
from pizzahouse.messaging.errors import (
    InvalidMessage,
    NoSuchGroup,
    NotDead,
    NotSkippable,
    UnknownDestination,
    UnknownMessage,
    Unreadable,
)
from pizzahouse.messaging.messages import Message
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from pizzahouse.messaging.testing import deliver, hand, sent
from tests.unit.postoffice import (
    SENDER,
    Counter,
    ParcelSent,
    SendParcel,
    claim,
    leave_a_trace,
    post,
    redeliver,
    tables,
    traces,
    travelling,
)
from waiter.contracts import PlaceOrder, Wish

pytestmark = pytest.mark.django_db
SAGA = UUID(int=5)
WHO = {"by": "anna", "why": "a slip of the pen"}


@pytest.fixture(autouse=True)
def _one_attempt(settings: Settings) -> None:
    settings.MESSAGING = settings.MESSAGING | {"MAX_ATTEMPTS": 1}


def fail(message: Message) -> None:
    raise OSError("the scales are broken")


def answer(command: SendParcel) -> ParcelSent:
    leave_a_trace()
    return ParcelSent(note=command.note)


@pytest.fixture
def dead(counter: Counter) -> Letter:
    """A parcel that could not be sent; from now on the counter works, and leaves a trace."""
    counter.on_parcel = fail
    letter = post(SendParcel(weight=5, note="books"), saga=SAGA)
    relay.mark_sent([letter.envelope.message_id])
    hand(letter)
    assert claim(letter).status == "dead"
    counter.on_parcel = answer
    return letter


def unreadable() -> InboxMessage:
    handling.record_unreadable("tests.SendParcel", {"args": [], "kwargs": {"x": 1}}, ValueError("what?"))
    return InboxMessage.objects.get(type="?")


# --- Edited and sent again ------------------------------------------------------------------------


def test_a_dead_message_is_edited_and_sent_again_as_a_new_one(dead: Letter) -> None:
    new = dead_letters.replace(claim(dead), {"weight": 7, "note": "bricks"}, **WHO)
    put, original = travelling(new).envelope, dead.envelope
    assert new != original.message_id
    for name in ("type", "destination", "reply_to", "saga", "trace"):
        assert getattr(put, name) == getattr(original, name), name
    assert put.causation == original.message_id
    assert deliver() == 2
    assert claim(travelling(new)).status == "done"
    assert (traces(), sent("ParcelSent", saga=SAGA)) == (1, [ParcelSent(note="bricks")])


def test_the_original_is_settled_and_keeps_what_is_known_of_it(dead: Letter) -> None:
    before, put_before = claim(dead), OutboxMessage.objects.get(pk=dead.envelope.message_id)
    new = dead_letters.replace(before, {"weight": 7}, **WHO)
    kept = claim(dead)
    assert (kept.status, kept.detail) == ("ignored", f"replaced by {new} by anna: a slip of the pen")
    for name in ("message", "error", "failures", "traceback", "attempts", "type", "handler", "saga_id"):
        assert getattr(kept, name) == getattr(before, name) != "", name
    assert kept.handled_at >= before.handled_at
    put = OutboxMessage.objects.get(pk=dead.envelope.message_id)
    assert (put.payload, put.sent_at, put.sends) == ({"weight": 5, "note": "books"}, put_before.sent_at, 1)


def test_the_original_is_never_handled_any_more(dead: Letter) -> None:
    dead_letters.replace(claim(dead), {"weight": 7}, **WHO)
    deliver()
    hand(dead)
    redeliver(dead)
    outstanding.resend([dead.envelope.message_id])
    assert outstanding.send_again(SAGA) == []
    deliver(later=True)
    assert traces() == 1
    assert (claim(dead).status, claim(dead).repeats) == ("ignored", 2)


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        ({"weight": 0}, r"\$\.weight"),
        ({"weight": "much"}, r"\$\.weight"),
        ({"weight": 1, "note": None}, r"\$\.note"),
        ({"wait": 3}, "SendParcel has no field wait; it has weight, note"),
        (["weight"], "SendParcel"),
        ("{", "SendParcel"),
        (None, "SendParcel"),
        ({"note": "\0"}, "NUL"),
        ({"note": "\ud800"}, "SendParcel"),
        ({"weight": 10**400}, r"\$\.weight"),
        ({"weight": float("nan")}, r"\$\.weight"),
        ({"": 1}, "SendParcel has no field ; it has weight, note"),
    ],
    ids=str,
)
def test_what_is_not_of_the_contract_is_refused_and_the_field_named(
    dead: Letter, payload: object, named: str
) -> None:
    before = tables()
    with pytest.raises(InvalidMessage, match=named):
        dead_letters.replace(claim(dead), payload, **WHO)
    assert tables() == before


def mended(dead: Letter) -> None:
    outstanding.resend([dead.envelope.message_id])


def handled(dead: Letter) -> None:
    mended(dead)
    deliver()


def replaced(dead: Letter) -> None:
    dead_letters.replace(claim(dead), {}, **WHO)


def discarded(dead: Letter) -> None:
    dead_letters.discard(claim(dead), **WHO)


def deleted(dead: Letter) -> None:
    InboxMessage.objects.all().delete()


@pytest.mark.parametrize(
    ("meanwhile", "told"),
    [
        (mended, "SendParcel is failed, will be tried again"),
        (handled, "SendParcel is Done"),
        (replaced, "SendParcel is Ignored"),
        (discarded, "SendParcel is Ignored"),
        (deleted, "SendParcel was deleted"),
    ],
)
def test_what_is_not_dead_any_more_is_neither_replaced_nor_discarded(
    dead: Letter, meanwhile: Callable[[Letter], None], told: str
) -> None:
    row = claim(dead)
    meanwhile(dead)
    before = tables()
    with pytest.raises(NotDead, match=f"somebody was faster.*{told}"):
        dead_letters.replace(row, {"weight": 7}, **WHO)
    with pytest.raises(NotDead, match=told):
        dead_letters.discard(row, **WHO)
    assert tables() == before


def test_a_mistyped_field_is_named_however_deep_it_is(counter: Counter) -> None:
    letter = post(PlaceOrder(table="TBL1", menu=(), wish=(Wish(1, "pmghr", "xl"),)), reply_to="")
    arguments = {"envelope": msgspec.to_builtins(letter.envelope), "payload": {}}
    failures.record_failure(letter.envelope, "waiter.PlaceOrder", OSError(), arguments, hopeless=True)
    pizza = {"quantity": 1, "code": "pmghr", "size": "xl"}
    payload = {"table": "TBL1", "menu": [], "wish": [pizza, pizza | {"colour": "red"}]}
    with pytest.raises(
        InvalidMessage, match=r"PlaceOrder\.wish\[1\] has no field colour; it has quantity, c"
    ):
        dead_letters.replace(claim(letter), payload, **WHO)


@pytest.mark.parametrize(
    "kept",
    [
        None,
        {},
        [],
        "text",
        5,
        {"body": "x"},
        {"envelope": None, "payload": {}},
        {"envelope": {}, "payload": {}},
    ],
    ids=str,
)
def test_whatever_is_kept_of_a_message_that_cannot_be_read_it_is_not_replaced_but_discarded(
    dead: Letter, kept: Any
) -> None:
    InboxMessage.objects.update(message=kept)
    before = tables()
    with pytest.raises(Unreadable):
        dead_letters.replace(claim(dead), {"weight": 7}, **WHO)
    assert tables() == before
    dead_letters.discard(claim(dead), **WHO)
    assert (claim(dead).status, claim(dead).message) == ("ignored", kept)


def test_what_nobody_can_read_is_not_replaced() -> None:
    row = unreadable()
    with pytest.raises(Unreadable, match="no envelope"):
        dead_letters.replace(row, {"weight": 7}, **WHO)
    assert InboxMessage.objects.get() == row
    assert sent() == []


@pytest.mark.parametrize(
    ("change", "error"),
    [({"type": "NoSuchThing"}, UnknownMessage), ({"destination": "nowhere"}, UnknownDestination)],
)
def test_what_is_of_no_contract_or_has_no_handler_is_not_replaced(
    dead: Letter, change: dict[str, str], error: type[Exception]
) -> None:
    row = claim(dead)
    assert row.message is not None
    row.message["envelope"] |= change
    row.save()
    before = tables()
    with pytest.raises(error):
        dead_letters.replace(row, {"weight": 7}, **WHO)
    assert tables() == before


def test_what_was_replaced_can_die_and_be_replaced_again(dead: Letter, counter: Counter) -> None:
    counter.on_parcel = fail
    first = dead_letters.replace(claim(dead), {"weight": 7}, **WHO)
    deliver()
    counter.on_parcel = answer
    second = dead_letters.replace(claim(travelling(first)), {"weight": 8}, by="otto", why="heavier")
    deliver()
    assert traces() == 1
    assert travelling(second).envelope.causation == first
    assert claim(travelling(first)).detail == f"replaced by {second} by otto: heavier"


def test_an_event_is_replaced_as_well(counter: Counter) -> None:
    counter.on_word = fail
    letter = post(ParcelSent(note="a"), to=SENDER, reply_to="", saga=SAGA)
    hand(letter)
    told: list[str] = []
    counter.on_word = lambda event: told.append(event.note)
    dead_letters.replace(claim(letter), {"note": "b"}, **WHO)
    deliver()
    assert told == ["b"]


# --- Discarded ------------------------------------------------------------------------------------


def test_what_is_discarded_is_settled_and_never_handled(dead: Letter) -> None:
    dead_letters.discard(claim(dead), **WHO)
    assert (claim(dead).status, claim(dead).detail) == ("ignored", "discarded by anna: a slip of the pen")
    hand(dead)
    redeliver(dead)
    assert deliver(later=True) == traces() == 0
    assert outstanding.of(SAGA) == []


def test_what_nobody_can_read_is_discarded() -> None:
    dead_letters.discard(unreadable(), **WHO)
    row = InboxMessage.objects.get()
    assert (row.status, row.detail) == ("ignored", "discarded by anna: a slip of the pen")
    assert row.message == {"args": [], "kwargs": {"x": 1}}


# --- Skipped --------------------------------------------------------------------------------------


def pending(counter: Counter) -> Letter:
    return post(saga=SAGA)


def with_the_broker(counter: Counter) -> Letter:
    letter = post(saga=SAGA)
    relay.mark_sent([each.envelope.message_id for each in relay.take_pending(10)])
    return letter


def failed(counter: Counter) -> Letter:
    counter.on_parcel = fail
    letter = with_the_broker(counter)
    hand(letter)
    return letter


def to_be_tried_again(counter: Counter) -> Letter:
    letter = failed(counter)
    outstanding.resend([letter.envelope.message_id])
    return letter


@pytest.mark.parametrize("make", [pending, with_the_broker, failed, to_be_tried_again])
def test_wherever_a_command_is_it_is_skipped_and_its_answer_stood_in_for(
    counter: Counter, make: Callable[[Counter], Letter]
) -> None:
    command = make(counter)
    counter.on_parcel = answer
    told: list[str] = []
    counter.on_word = lambda event: told.append(event.note)
    stand_in = dead_letters.skip(command.envelope.message_id, ParcelSent(note="by hand"), **WHO)
    envelope = travelling(stand_in).envelope
    assert (envelope.type, envelope.destination, envelope.saga) == ("ParcelSent", SENDER, SAGA)
    assert (envelope.causation, envelope.trace) == (command.envelope.message_id, command.envelope.trace)
    kept = claim(command)
    words = f"skipped by anna: a slip of the pen; ParcelSent {stand_in} stands in for its answer"
    assert (kept.status, kept.detail, kept.handler) == ("ignored", words, "tests.SendParcel")
    for _ in range(2):
        hand(command)
    assert deliver(later=True) == 1
    assert (told, traces(), claim(command).repeats) == (["by hand"], 0, 2)


def scheduled() -> Letter:
    return post(saga=SAGA, delay=3600)


def an_event() -> Letter:
    return post(ParcelSent(), to=SENDER, saga=SAGA)


def nobodys() -> Letter:
    return post()


def unanswered() -> Letter:
    return post(saga=SAGA, reply_to="")


def done() -> Letter:
    letter = post(saga=SAGA)
    hand(letter)
    return letter


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (scheduled, "SendParcel is not due yet"),
        (an_event, "ParcelSent is an event"),
        (nobodys, "nobody waits"),
        (unanswered, "nobody waits"),
        (done, "it was handled"),
    ],
)
def test_what_no_saga_waits_for_now_is_not_skipped(make: Callable[[], Letter], told: str) -> None:
    letter = make()
    before = tables()
    with pytest.raises(NotSkippable, match=told):
        dead_letters.skip(letter.envelope.message_id, ParcelSent(), **WHO)
    assert tables() == before


def test_a_message_that_there_is_not_is_not_skipped() -> None:
    with pytest.raises(NotSkippable, match="no message of this id"):
        dead_letters.skip(UUID(int=1), ParcelSent(), **WHO)


def test_a_step_is_skipped_once(dead: Letter) -> None:
    dead_letters.skip(dead.envelope.message_id, ParcelSent(), **WHO)
    with pytest.raises(NotSkippable):
        dead_letters.skip(dead.envelope.message_id, ParcelSent(), **WHO)
    with pytest.raises(NotDead):
        dead_letters.replace(claim(dead), {}, **WHO)
    assert len(sent("ParcelSent")) == 1


def test_an_answer_that_breaks_its_contract_or_has_no_handler_there_skips_nothing(dead: Letter) -> None:
    before = tables()
    broken: Any = ParcelSent(note=5)  # type: ignore[arg-type]
    with pytest.raises(InvalidMessage, match=r"\$\.note"):
        dead_letters.skip(dead.envelope.message_id, broken, **WHO)
    command = post(saga=SAGA, reply_to="tests.nobody")
    with pytest.raises(UnknownDestination):
        dead_letters.skip(command.envelope.message_id, ParcelSent(), **WHO)
    OutboxMessage.objects.filter(pk=command.envelope.message_id).delete()
    assert tables() == before


# --- Previews, and how it is told -----------------------------------------------------------------


class Publisher:
    """Keeps what it is told to publish."""

    ready = True

    def __init__(self) -> None:
        self.published: list[Letter] = []

    def start(self, relay: object) -> None: ...
    def stop(self, timeout: float) -> None: ...
    def publish(self, letters: Any) -> None:
        self.published.extend(letters)


@contextmanager
def undone() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


MENDINGS: list[Callable[[Letter], object]] = [
    lambda dead: dead_letters.replace(claim(dead), {"weight": 7}, **WHO),
    lambda dead: dead_letters.discard(claim(dead), **WHO),
    lambda dead: dead_letters.skip(dead.envelope.message_id, ParcelSent(), **WHO),
]


@pytest.mark.parametrize("mend", MENDINGS, ids=["replace", "discard", "skip"])
def test_what_is_only_tried_leaves_no_trace_and_sends_nothing(
    dead: Letter,
    mend: Callable[[Letter], object],
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    publisher = Publisher()
    monkeypatch.setattr(relay, "_local", relay.Relay(publisher))  # not started: it hands over, no more
    before = tables()
    with django_capture_on_commit_callbacks(execute=True) as callbacks, undone():
        mend(dead)
        assert tables() != before
    assert (tables(), callbacks, publisher.published) == (before, [], [])
    with django_capture_on_commit_callbacks(execute=True):
        mend(dead)
    assert tables() != before
    assert {letter.envelope.causation for letter in publisher.published} <= {dead.envelope.message_id}


@pytest.mark.parametrize(
    ("mend", "told"),
    list(zip(MENDINGS, ["replaced by ", "discarded by anna: ", "skipped by anna: "], strict=True)),
    ids=["replace", "discard", "skip"],
)
def test_the_history_says_who_mended_it_and_why(
    dead: Letter, mend: Callable[[Letter], object], told: str
) -> None:
    mend(dead)
    hand(dead)
    of_it = [each for each in history.of(SAGA) if each.message_id == dead.envelope.message_id]
    assert [each.kind for each in of_it] == ["command", "failure", "ignored", "ignored"]
    assert of_it[1].detail.endswith("OSError: the scales are broken; dead")
    assert of_it[2].detail.startswith(told)
    assert "a slip of the pen" in of_it[2].detail
    assert of_it[3].detail == "delivered 1 more times at tests.SendParcel, it is settled, and was left alone"


# --- Groups ---------------------------------------------------------------------------------------


def a_failure(error: str, name: str = "DoPizza", handler: str = "", *, failing: bool = False) -> UUID:
    """A message that failed with this error."""
    message_id = uuid4()
    InboxMessage.objects.create(
        message_id=message_id,
        handler=handler or f"kitchen.{name}",
        type=name,
        status="failed" if failing else "dead",
        error=error,
    )
    return message_id


def told(limit: int = 200, *, failing: bool = False) -> dict[str, int]:
    return {group.kind.error: group.count for group in dead_letters.groups(limit, failing=failing)}


def test_errors_that_differ_in_ids_and_numbers_fall_together() -> None:
    for number in range(3):
        a_failure(f"KeyError: {uuid4()} at 0x7f{number:04x}, row {number}\nand more {number}")
    a_failure("KeyError: it has no number")
    a_failure("OSError: disk #1 is full")
    a_failure("OSError: disk sda2 is full")
    assert told() == {
        "KeyError: # at #, row #": 3,
        "OSError: disk # is full": 2,
        "KeyError: it has no number": 1,
    }


def test_of_each_group_it_is_told_how_many_since_when_and_by_example() -> None:
    for number in range(5):
        last = a_failure(f"OSError: {number}")
    (group,) = dead_letters.groups()
    assert (group.count, group.kind.status) == (5, "dead")
    assert (group.kind.type, group.kind.handler) == ("DoPizza", "kitchen.DoPizza")
    assert group.example.message_id == last
    times = InboxMessage.objects.aggregate(models.Min("handled_at"), models.Max("handled_at"))
    assert (group.oldest, group.newest) == tuple(times.values())


def test_what_failed_at_another_handler_or_of_another_type_is_another_group() -> None:
    a_failure("OSError: 1")
    a_failure("OSError: 2", "ShowBill", "waiter.ShowBill")
    a_failure("OSError: 3", "DoPizza", "kitchen.somebody.DoPizza")
    assert [group.count for group in dead_letters.groups()] == [1, 1, 1]


def test_what_is_tried_again_is_told_on_demand_in_groups_of_its_own() -> None:
    a_failure("OSError: 1")
    a_failure("OSError: 2", failing=True)
    a_failure("OSError: 3", failing=True)
    assert [group.count for group in dead_letters.groups()] == [1]
    found = dead_letters.groups(failing=True)
    assert [(group.kind.status, group.count) for group in found] == [("failed", 2), ("dead", 1)]
    for group in found:
        rows = dead_letters.rows_of(group.kind.key)
        assert {row.status for row in rows} == {group.kind.status}


def test_a_message_at_its_first_attempt_has_not_failed() -> None:
    letter = post()
    failures.begin(letter.envelope, "tests.SendParcel", {})
    assert dead_letters.groups(failing=True) == []


def test_there_are_no_more_groups_than_wanted_and_they_are_the_largest() -> None:
    for word in ("a", "bb", "ccc", "ccc", "ccc", "bb"):
        a_failure(word)
    assert told(2) == {"ccc": 3, "bb": 2}


def test_groups_cost_the_same_few_statements_however_many_there_are() -> None:
    def statements() -> int:
        with CaptureQueriesContext(connection) as queries:
            dead_letters.groups(failing=True)
        return len(queries)

    a_failure("one")
    few = statements()
    for number in range(30):
        a_failure("x" * number, failing=bool(number % 2))
    assert statements() == few == 3


def test_of_groups_of_one_size_that_which_failed_last_comes_first() -> None:
    for word in ("b", "a", "c", "a", "b"):
        a_failure(word)
    assert list(told()) == ["b", "a", "c"]
    assert list(told(1)) == ["b"]


def test_a_line_of_many_ids_fits_its_group_or_not_without_trying_each_way() -> None:
    ids = " ".join(["0123456789" * 2] * 9)
    a_failure(f"KeyError: {ids} a")
    a_failure(f"KeyError: {ids} b")
    for group in dead_letters.groups():
        assert dead_letters.rows_of(group.kind.key).count() == group.count == 1


LINES = st.text(st.sampled_from("aZ #-_.059*()[]\\^$|?+{}\t'\"é…%"), max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINES, max_size=12))
def test_a_group_finds_exactly_its_rows_by_its_key(lines: list[str]) -> None:
    InboxMessage.objects.all().delete()
    ids = {a_failure(line) for line in lines}
    for group in dead_letters.groups():
        rows = list(dead_letters.rows_of(group.kind.key))
        assert len(rows) == group.count
        found = {row.message_id for row in rows}
        assert found <= ids, "no row is in two groups"
        ids -= found
    assert not ids, "each row is in one"


@pytest.mark.parametrize("length", [198, 199, 200, 201, 5000])
def test_a_long_error_is_grouped_by_its_beginning(length: int) -> None:
    for number in range(3):
        a_failure(f"{'long ' * 1000}"[:length] + f"{number}{number}")
    for group in dead_letters.groups():
        assert dead_letters.rows_of(group.kind.key).count() == group.count
        assert len(group.kind.error) <= 200
    assert sum(group.count for group in dead_letters.groups()) == 3


def test_a_key_is_fit_for_a_url() -> None:
    a_failure("Ünïcode / ? & = # \U0001f355")
    (group,) = dead_letters.groups()
    assert group.kind.key.replace("-", "").replace("_", "").isalnum()
    assert group.kind.key.isascii()
    assert dead_letters.rows_of(group.kind.key).count() == 1


def written(text: str) -> str:
    return urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "key",
    [
        *("", "x", "%%%", "é", "e30", "WyJkZWFkIl0", "A" * 5000),
        written("[" * 100_000),
        written(r'["dead","a","b","\ud800"]'),
        written('["dead", "a", "b", "not as it is written"]'),
        Kind("dead", "a", "b", "c").key + "=",
        Kind("done", "a", "b", "c").key,
        Kind("dead", "a\0", "b", "c").key,
        Kind("dead", "a", "b", "c\0").key,
        Kind("dead", "a", "b", "row 5").key,
        Kind("dead", "a", "b", "two\nlines").key,
        Kind("dead", "a", "b", "x" * 201).key,
    ],
    ids=range(17),
)
def test_a_key_of_no_group_is_refused(key: str) -> None:
    with pytest.raises(NoSuchGroup, match="list of the groups"):
        dead_letters.rows_of(key)


def test_a_key_of_which_nothing_is_left_finds_nothing() -> None:
    assert not dead_letters.rows_of(Kind("dead", "a", "b", "c").key).exists()


def test_whole_groups_are_sent_again_by_their_rows(counter: Counter) -> None:
    counter.on_parcel = fail
    parcels = [post(saga=SAGA) for _ in range(3)]
    a_failure("another")
    deliver()
    group = dead_letters.groups()[0]
    counter.on_parcel = answer
    outstanding.resend(dead_letters.rows_of(group.kind.key).values_list("message_id", flat=True))
    deliver()
    assert {claim(letter).status for letter in parcels} == {"done"}
    assert dead_letters.rows_of(group.kind.key).count() == 0
