"""The timeline of one process: what came of each message, what caused it, and where nothing happened."""

import json
import re
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction
from django.db.models import F
from django.template.loader import render_to_string
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings
from uuid_utils.compat import uuid7

from kitchen import oven
from kitchen.models import Stock
from orders.contracts import Cancel, StartTableService
from orders.office import timeline as timelines
from orders.office.diagram import Way
from orders.office.items import Item
from orders.office.timeline import FIRST, NEWEST, Idle, Timeline
from orders.table_service import BAKING, CLOSED, NEEDS_MANAGER, ORDERING, RECALLING, TableService
from pizzahouse.messaging import outbox, outstanding
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from pizzahouse.messaging.testing import deliver, hand, letters
from tests.unit.postoffice import travelling
from waiter import guest

pytestmark = pytest.mark.django_db
CLOCK = r"([\d-]{10} )?\d\d:\d\d:\d\d"  # at midnight with the date


@pytest.fixture(autouse=True)
def _house(settings: Settings, full_larder: None) -> None:
    """Two attempts, so that what fails is soon dead."""
    settings.MESSAGING = settings.MESSAGING | {"MAX_ATTEMPTS": 2}


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An oven in which nothing can be baked, until somebody undoes that."""

    def burns() -> bool:
        raise OSError("the oven is cold\n  <b>")

    monkeypatch.setattr(oven, "burns", burns)
    return monkeypatch


def seat(**wishes: Any) -> UUID:
    with transaction.atomic():
        return TableService.begin(StartTableService(table="TBL1", **wishes))


def served(**wishes: Any) -> UUID:
    saga = seat(**wishes)
    deliver(later=True)
    return saga


def told(saga: UUID) -> Timeline:
    return timelines.timeline(TableService.objects.get(pk=saga), timezone.now())


def all_of(saga: UUID) -> list[Item]:
    """Its messages, the oldest first."""
    return [item for item in reversed(told(saga).items) if isinstance(item, Item)]


def named(saga: UUID, name: str) -> list[Item]:
    return [item for item in all_of(saga) if item.type == name]


def idle(saga: UUID) -> list[Idle]:
    return [item for item in told(saga).items if isinstance(item, Idle)]


def make_older(rows: Any, **time: float) -> None:
    """As if it had been so much earlier."""
    ago = timedelta(**time)
    rows.update(created_at=F("created_at") - ago, sent_at=F("sent_at") - ago)
    InboxMessage.objects.filter(message_id__in=[row.id for row in rows]).update(
        handled_at=F("handled_at") - ago
    )


def html_of(saga: UUID) -> str:
    context = {"timeline": told(saga)}
    parts = (render_to_string(f"office/process/{part}.html", context) for part in ("problems", "timeline"))
    return "\n".join(parts)


# --- A good evening -------------------------------------------------------------------------------


def test_a_served_table_s_messages_stand_the_newest_first() -> None:
    saga = served()
    items = told(saga).items
    assert [item.type for item in items if isinstance(item, Item)][:3] == [
        "ClientThanked",
        "ThankClient",
        "BillPaid",
    ]
    assert len(items) == OutboxMessage.objects.filter(saga_id=saga).count() == 24
    assert all_of(saga)[0].type == "StartTableService"


def test_each_message_tells_when_it_was_put_and_sent_and_handled_and_by_whom() -> None:
    [menu] = named(served(), "GetMenu")
    assert (menu.kind, menu.destination, menu.handler) == ("command", "menu", "menu.GetMenu")
    assert [name for name, _ in menu.times] == ["put", "sent", "handled"]
    assert all(re.fullmatch(rf"{CLOCK}\.\d{{3}}", time) for _, time in menu.times)
    assert (menu.status, menu.tone, menu.is_problem) == ("handled", "good", False)
    assert json.loads(menu.payload) == {"sold_out": []}


def test_each_step_tells_its_name_and_its_states() -> None:
    steps = [(item.step, item.from_state, item.to_state) for item in all_of(served()) if item.step]
    assert steps[:2] == [("start", "new", "started"), ("get menu", "started", "getting menu")]
    assert steps[-1] == ("close", "thanking", "closed")


def test_the_way_travelled_is_that_of_the_diagram() -> None:
    way = told(served()).way
    assert way.travelled[0] == ("new", "started")
    assert way.travelled.count((BAKING, BAKING)) == 4
    assert way.travelled[-1] == ("thanking", CLOSED)
    assert (way.present, way.troubled) == (CLOSED, False)


def test_each_message_has_a_page_in_the_outbox_and_in_the_inbox() -> None:
    [menu] = named(served(), "GetMenu")
    assert menu.url == f"/admin/messaging/outboxmessage/{menu.id}/change/"
    claim = InboxMessage.objects.get(message_id=menu.id)
    assert menu.handled_url == f"/admin/messaging/inboxmessage/{claim.pk}/change/"


def test_a_table_that_nobody_has_begun_with_has_one_message() -> None:
    saga = seat()
    found = timelines.timeline(TableService(id=saga), timezone.now())
    assert [item.type for item in found.items if isinstance(item, Item)] == ["StartTableService"]
    assert found.way == Way((), "new")


# --- Causes and effects ---------------------------------------------------------------------------


def test_each_message_links_to_its_cause_and_the_cause_to_it() -> None:
    items = {item.id: item for item in all_of(served())}
    for item in items.values():
        causation = OutboxMessage.objects.get(pk=item.id).causation_id
        if causation is None:
            assert item.type == "StartTableService"
            assert item.cause is None
        else:
            assert item.cause is not None
            assert item.cause.href == f"#{items[causation].anchor}"
            assert f"#{item.anchor}" in [effect.href for effect in items[causation].effects]
    [placed] = [item for item in items.values() if item.type == "OrderPlaced"]
    assert [effect.text for effect in placed.effects] == ["DoPizza"] * 5


def test_a_message_that_caused_very_many_links_to_some_of_them() -> None:
    saga = served()
    menu = OutboxMessage.objects.get(saga_id=saga, type="GetMenu")
    many(saga, 30)
    OutboxMessage.objects.filter(saga_id=saga, type="DoPizza").update(causation_id=menu.id)
    [item] = named(saga, "GetMenu")
    assert (len(item.effects), item.more_effects) == (20, "and 16 more")


# --- When it goes wrong ---------------------------------------------------------------------------


def test_what_fails_is_a_problem_with_its_attempts_its_error_and_its_traceback(cold: Any) -> None:
    saga = seat()
    deliver()
    found = told(saga)
    assert len(found.problems) == 5
    assert found.more_problems == 0
    [problem, *_] = found.problems
    assert re.fullmatch(rf"failed at attempt 1, tried again at {CLOCK}", problem.status)
    assert (problem.type, problem.tone, problem.is_problem) == ("DoPizza", "warn", True)
    assert problem.error == "OSError: the oven is cold"
    [attempt] = problem.attempts
    assert attempt.number == 1
    assert attempt.error.startswith("OSError: the oven is cold")
    assert attempt.then.startswith("again after 0.")
    assert problem.traceback.startswith("Traceback")
    assert found.way.troubled


def test_what_is_dead_is_a_problem_and_shows_its_payload_as_it_came(cold: Any) -> None:
    saga = served()
    InboxMessage.objects.filter(saga_id=saga, status="dead").update(
        message={
            "envelope": InboxMessage.objects.filter(status="dead")[0].message["envelope"],
            "payload": {"x": 1},
        }
    )
    [problem, *_] = told(saga).problems
    assert (problem.status, problem.tone) == ("dead after 2 attempts", "bad")
    assert [attempt.then for attempt in problem.attempts][-1] == "dead"
    assert json.loads(problem.payload) == {"x": 1}


def test_the_newest_failure_stands_first(cold: Any) -> None:
    saga = seat()
    deliver()
    claims = list(InboxMessage.objects.filter(saga_id=saga, status="failed").order_by("id"))
    for minutes, claim in enumerate(claims):
        InboxMessage.objects.filter(pk=claim.pk).update(
            handled_at=timezone.now() - timedelta(minutes=minutes)
        )
    assert [problem.id for problem in told(saga).problems] == [claim.message_id for claim in claims]


def test_what_was_retried_and_handled_is_no_problem_and_keeps_its_attempts(cold: pytest.MonkeyPatch) -> None:
    saga = served()
    cold.undo()
    outstanding.send_again(saga)
    deliver(later=True)
    found = told(saga)
    assert found.problems == []
    assert (found.way.present, found.way.troubled) == (CLOSED, False)
    for pizza in named(saga, "DoPizza"):
        assert (pizza.status, pizza.tone, pizza.error) == (
            "handled at attempt 3",
            "good",
            "OSError: the oven is cold",
        )
        assert len(pizza.attempts) == 2


def test_a_message_that_a_worker_has_begun_with_is_no_problem() -> None:
    saga = seat()
    [letter] = letters("StartTableService")
    InboxMessage.objects.create(
        message_id=letter.envelope.message_id,
        handler=letter.envelope.actor_name,
        type=letter.envelope.type,
        saga_id=saga,
        status="failed",
        attempts=0,
        started_at=timezone.now(),
    )
    found = timelines.timeline(TableService(id=saga), timezone.now())
    [item] = [item for item in found.items if isinstance(item, Item)]
    assert (item.status, item.is_problem, found.problems) == ("a worker is at it", False, [])


def test_recalled_pizzas_are_told_with_the_rounds_they_were_of() -> None:
    Stock.objects.filter(code="pamat").update(left=1)
    saga = served()
    found = told(saga)
    assert len(named(saga, "CancelPizza")) == 4
    assert [item.from_state for item in named(saga, "OrderPlaced")] == ["ordering", "ordering"]
    assert found.way.travelled.count((ORDERING, BAKING)) == 2
    assert found.way.travelled.count((BAKING, RECALLING)) == 1
    assert found.problems == []
    [refused] = named(saga, "PizzaRefused")
    assert refused.step == "recall round"
    assert "pamat: sold out" in refused.detail


def test_a_step_that_somebody_wanted_tells_who_and_why() -> None:
    saga = seat(in_person=True)
    deliver()
    with transaction.atomic():
        outbox.put(Cancel(by="anna", reason="a fly"), to=TableService.address(), saga=saga)
    deliver()
    [cancel] = named(saga, "Cancel")
    assert (cancel.step, cancel.to_state, cancel.detail) == ("cancel", "apologizing", "anna: a fly")


def test_what_was_ignored_says_why_and_is_no_problem() -> None:
    saga = served()
    with transaction.atomic():
        outbox.put(Cancel(by="anna", reason="late"), to=TableService.address(), saga=saga)
    deliver()
    [ignored] = named(saga, "Cancel")
    assert (ignored.status, ignored.tone, ignored.step) == ("ignored", "calm", "")
    assert ignored.detail == "nothing to do on Cancel in state closed"
    assert told(saga).problems == []


def test_who_needs_the_manager_is_in_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "declines", lambda: True)
    way = told(served()).way
    assert (way.present, way.troubled) == (NEEDS_MANAGER, True)


def test_what_is_dead_of_a_table_that_was_served_is_a_problem_but_it_is_not_in_trouble() -> None:
    saga = served()
    InboxMessage.objects.filter(saga_id=saga, type="ClientThanked").update(status="dead")
    found = told(saga)
    assert [problem.type for problem in found.problems] == ["ClientThanked"]
    assert found.way.troubled is False


def test_what_is_only_in_the_inbox_is_a_problem_all_the_same(cold: Any) -> None:
    saga = served()
    OutboxMessage.objects.filter(saga_id=saga, type="DoPizza").delete()
    found = told(saga)
    assert [problem.type for problem in found.problems] == ["DoPizza"] * 5
    assert all(problem.href == problem.handled_url for problem in found.problems)
    assert json.loads(found.problems[0].payload)["code"]


# --- Deadlines and repeats ------------------------------------------------------------------------


def test_a_deadline_that_is_not_over_is_told_quietly() -> None:
    saga = seat(in_person=True)
    deliver()
    [deadline] = named(saga, "DeadlinePassed")
    assert deadline.is_quiet
    assert deadline.status.startswith("due ")
    assert f"#{deadline.anchor}" not in [effect.href for item in all_of(saga) for effect in item.effects]


def test_a_deadline_that_asked_again_is_quiet_and_no_way_travelled() -> None:
    saga = seat(in_person=True)
    deliver()
    before = told(saga).way
    deadline = TableService.objects.get(pk=saga).deadline
    assert deadline is not None
    hand(travelling(deadline))
    asked, again = named(saga, "DeadlinePassed")
    assert (asked.step, asked.is_quiet) == ("ask again", True)
    assert again.is_quiet
    assert told(saga).way == before


def test_a_deadline_that_made_it_give_up_is_not_quiet() -> None:
    saga = seat(in_person=True)
    deliver()
    deliver(later=timedelta(hours=2))
    told_aloud = [item for item in named(saga, "DeadlinePassed") if not item.is_quiet]
    assert [(item.step, item.to_state) for item in told_aloud] == [("give up", "apologizing")]


def test_what_came_again_says_so_with_the_message_it_was() -> None:
    saga = served()
    [menu] = letters("GetMenu")
    hand(menu)
    hand(menu)
    [item] = named(saga, "GetMenu")
    assert (item.repeats, item.status) == ("came 2 more times", "handled")


def test_what_was_sent_several_times_says_so() -> None:
    saga = served()
    OutboxMessage.objects.filter(saga_id=saga, type="GetMenu").update(sends=3)
    [item] = named(saga, "GetMenu")
    assert dict(item.times)["sent"].endswith("(sent 3 times)")


# --- On its way -----------------------------------------------------------------------------------


def test_what_waits_for_its_time_says_when_that_is(settings: Settings) -> None:
    settings.PIZZAHOUSE_PACE = 1000.0
    saga = seat()
    deliver()
    [placed] = named(saga, "OrderPlaced")
    assert placed.status.startswith("due ")
    assert placed.tone == "calm"
    assert [name for name, _ in placed.times] == ["put", "due"]


def test_what_was_not_sent_for_long_is_in_trouble() -> None:
    saga = seat()
    put = OutboxMessage.objects.filter(saga_id=saga)

    def start() -> Item:
        [item] = timelines.timeline(TableService(id=saga), timezone.now()).items
        assert isinstance(item, Item)
        return item

    assert (start().status, start().tone) == ("not sent yet", "calm")
    put.update(created_at=timezone.now() - timedelta(minutes=1))
    assert (start().status, start().tone) == ("not sent yet", "warn")
    put.update(sent_at=timezone.now(), sends=1)
    assert (start().status, start().tone) == ("sent, not handled yet", "calm")


# --- Where nothing happened -----------------------------------------------------------------------


def test_a_table_that_was_served_without_a_pause_has_no_idle_time() -> None:
    assert idle(served()) == []


def test_a_long_time_in_which_nothing_happened_stands_between_the_messages() -> None:
    saga = served()
    early = [item.id for item in all_of(saga)[:7]]
    make_older(OutboxMessage.objects.filter(pk__in=early), minutes=4, seconds=30)
    [pause] = idle(saga)
    assert pause.text == "nothing for 4 minutes"
    assert 269 < pause.seconds < 271
    items = told(saga).items
    before, after = items[items.index(pause) + 1], items[items.index(pause) - 1]
    assert isinstance(before, Item)
    assert isinstance(after, Item)
    assert (before.id, after.id) == (early[-1], all_of(saga)[7].id)


@pytest.mark.parametrize(("seconds", "told_as"), [(9, []), (12, ["nothing for 12 seconds"])])
def test_a_pause_of_less_than_ten_seconds_is_none(seconds: int, told_as: list[str]) -> None:
    saga = served()
    early = [item.id for item in all_of(saga)[:7]]
    make_older(OutboxMessage.objects.filter(pk__in=early), seconds=seconds)
    assert [pause.text for pause in idle(saga)] == told_as


def test_where_every_message_takes_a_minute_only_what_took_much_longer_is_idle_time() -> None:
    saga = served()
    for number, item in enumerate(reversed(all_of(saga))):
        minutes = number if number < 10 else number + 4
        make_older(OutboxMessage.objects.filter(pk=item.id), minutes=minutes)
    assert [pause.text for pause in idle(saga)] == ["nothing for 5 minutes"]


def test_attempts_that_failed_are_something_that_happened(cold: pytest.MonkeyPatch) -> None:
    saga = served()
    cold.undo()
    outstanding.send_again(saga)
    deliver(later=True)
    pizza_put = [item.id for item in all_of(saga) if item.at <= named(saga, "DoPizza")[-1].at]
    make_older(OutboxMessage.objects.filter(pk__in=pizza_put).exclude(type="DoPizza"), minutes=20)
    OutboxMessage.objects.filter(type="DoPizza").update(created_at=F("created_at") - timedelta(minutes=20))
    assert [pause.text for pause in idle(saga)] == ["nothing for 20 minutes"]
    half = (timezone.now() - timedelta(minutes=10)).isoformat()
    for claim in InboxMessage.objects.filter(type="DoPizza"):
        failures = [failure | {"at": half} for failure in claim.failures or []]
        InboxMessage.objects.filter(pk=claim.pk).update(failures=failures)
    assert idle(saga)[0].text in {"nothing for 9 minutes", "nothing for 10 minutes"}


# --- Very many messages ---------------------------------------------------------------------------


def many(saga: UUID, number: int, at: datetime | None = None) -> None:
    """So many pizzas more, put then, all handled."""
    ids = [uuid7() for _ in range(number)]
    row: dict[str, Any] = {"type": "DoPizza", "destination": "kitchen", "saga_id": saga}
    now = at or timezone.now()
    OutboxMessage.objects.bulk_create(
        OutboxMessage(
            id=each, payload={"code": "pmghr"}, created_at=now, sent_at=now, available_at=None, sends=1, **row
        )
        for each in ids
    )
    InboxMessage.objects.bulk_create(
        InboxMessage(message_id=each, handler="kitchen.DoPizza", type="DoPizza", saga_id=saga, status="done")
        for each in ids
    )


@pytest.mark.parametrize("number", [5, 400])
def test_it_asks_the_database_three_times_however_many_messages_there_are(
    number: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    saga = seat()
    deliver()
    many(saga, number)
    row = TableService.objects.get(pk=saga)
    with django_assert_num_queries(3):
        timelines.timeline(row, timezone.now())


def test_of_very_many_messages_the_first_and_the_newest_are_shown_and_the_others_counted() -> None:
    saga = served()
    every = [item.id for item in all_of(saga)]
    many(saga, 400)
    found = told(saga)
    shown = [item.id for item in found.items if isinstance(item, Item)]
    assert len(shown) == FIRST + NEWEST == 300
    assert found.left_out == len(every) + 400 - 300
    assert shown[::-1][:FIRST] == every[:FIRST]
    assert shown[0] == OutboxMessage.objects.filter(saga_id=saga).order_by("created_at", "id").last().id  # type: ignore[union-attr]
    [gap] = [place for place, item in enumerate(found.items) if isinstance(item, Idle)]
    assert gap == NEWEST
    assert found.items[gap].text == f"{found.left_out} messages not shown"  # type: ignore[union-attr]
    assert found.way.travelled.count((BAKING, BAKING)) == 4, "the way is whole"


def test_a_problem_is_found_though_its_message_is_left_out(cold: Any) -> None:
    saga = served()
    in_the_middle = timezone.now() + timedelta(seconds=1)
    many(saga, FIRST)
    OutboxMessage.objects.filter(causation_id__isnull=False, type="DoPizza").update(created_at=in_the_middle)
    many(saga, 400, at=in_the_middle + timedelta(seconds=1))
    found = told(saga)
    assert len(found.problems) == 5
    assert "" not in {problem.payload for problem in found.problems}
    assert not {problem.id for problem in found.problems} & {item.id for item in all_of(saga)}


def test_very_many_problems_are_counted_beyond_the_newest(cold: Any) -> None:
    saga = served()
    many(saga, 60)
    InboxMessage.objects.filter(saga_id=saga, type="DoPizza").update(status="dead", attempts=2)
    found = told(saga)
    assert (len(found.problems), found.more_problems) == (50, 15)


def test_a_cause_that_is_left_out_links_to_its_own_page() -> None:
    saga = served()
    many(saga, 400)
    newest = OutboxMessage.objects.filter(saga_id=saga).order_by("created_at", "id").last()
    assert newest is not None
    left_out = OutboxMessage.objects.filter(saga_id=saga).order_by("created_at", "id")[FIRST + 5]
    OutboxMessage.objects.filter(pk=newest.pk).update(causation_id=left_out.pk)
    item = all_of(saga)[-1]
    assert item.cause is not None
    assert item.cause.href == f"/admin/messaging/outboxmessage/{left_out.pk}/change/"


# --- The page -------------------------------------------------------------------------------------


def test_the_page_escapes_what_others_wrote_and_gives_all_an_id_of_its_own(cold: Any) -> None:
    html = html_of(served())
    assert "the oven is cold" in html
    assert "<b>\n" not in html
    assert "  &lt;b&gt;" in html
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert all(f'id="{place}"' in html for place in re.findall(r'href="#([^"]+)"', html))


def test_the_page_tells_steps_pauses_and_what_is_left_out() -> None:
    saga = served()
    many(saga, 400)
    html = html_of(saga)
    assert "get menu: started → getting menu" in html
    assert "124 messages not shown" in html
    assert html.count("<details") == 300
