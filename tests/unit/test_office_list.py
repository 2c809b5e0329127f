"""The list of processes: what it shows of each, how it is filtered and searched, and the figures above it."""

import re
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone

from orders.contracts import StartTableService
from orders.office import counters, listing
from orders.office.admin import ProcessAdmin
from orders.office.listing import first_id
from orders.office.models import Process
from orders.saga import OVERDUE, STOPPED
from orders.simple_serving import SimpleServing, StartSimpleServing
from orders.table_service import CLOSED, NEEDS_MANAGER, ORDERING, TableService
from pizzahouse.messaging import paging, testing
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from tests.unit.office import MALICIOUS, NOT_ON_ANY_MENU, PROCESSES, seat, spoil_a_pizza, state_of, text_of

pytestmark = [
    pytest.mark.django_db,
    # WhiteNoise says so where collectstatic never ran; the pages are the same.
    pytest.mark.filterwarnings("ignore:No directory at"),
]


@pytest.fixture(autouse=True)
def _house(settings):
    """One attempt, so that what fails is dead; pauses, so that messages wait for their time."""
    settings.MESSAGING = settings.MESSAGING | {"MAX_ATTEMPTS": 1}
    settings.PIZZAHOUSE_PACE = 1.0


def found(client: Client, **query: object) -> list[str]:
    """The tables that the list shows, the newest first."""
    response: Any = client.get(PROCESSES, query)
    assert response.status_code == 200
    return [process.table for process in response.context["cl"].result_list]


# --- What is shown --------------------------------------------------------------------------------


def test_the_list_shows_what_each_is_doing_and_what_went_wrong(operator):
    seat("TBL1", NOT_ON_ANY_MENU)
    served = seat("TBL2")
    testing.deliver(later=True)
    assert state_of(served) == CLOSED
    text = text_of(operator, PROCESSES)
    assert re.search(
        r"TBL1 table_service ordering place order \d+ seconds? 1 [\d: -]+"
        r" PlaceOrder dead: NotOnTheMenu: nonesuch xl is not on the menu",
        text,
    )
    assert re.search(r"TBL2 table_service closed close \d+ seconds?", text)


def test_every_scenario_is_in_it(operator):
    seat("TBL1")
    with transaction.atomic():
        SimpleServing.begin(StartSimpleServing(table="TBL2"))
    testing.deliver()
    assert found(operator) == ["TBL2", "TBL1"]
    assert found(operator, scenario="simple_serving") == ["TBL2"]


def test_the_age_is_told_in_human_words(operator):
    saga = seat("TBL1")
    for seconds, words in [(30, r"3\d seconds"), (7200, "2 hours"), (86400 * 45, "1 month, 2 weeks")]:
        TableService.objects.filter(pk=saga).update(started_at=timezone.now() - timedelta(seconds=seconds))
        assert re.search(f"place order {words} ", text_of(operator, PROCESSES))


def test_a_process_leads_to_its_page(operator):
    saga = seat("TBL1")
    html = operator.get(PROCESSES).content.decode()
    assert f'href="/admin/office/process/{saga}/change/' in html


def test_what_an_error_says_is_text_and_never_markup(operator):
    seat("TBL1", MALICIOUS)
    html = operator.get(PROCESSES).content.decode()
    assert "&lt;script&gt;1&lt;/script&gt;" in html
    assert "<script>1" not in html


def test_more_than_anybody_turns_pages_for_is_not_counted(operator, monkeypatch):
    monkeypatch.setattr(paging, "FAR", 2)
    for number in range(3):
        seat(f"TBL{number}")
    response = operator.get(PROCESSES)
    assert response.context["cl"].result_count == 2
    assert "the newest 2 processes" in text_of(operator, PROCESSES)


# --- Filters --------------------------------------------------------------------------------------


def test_processes_are_filtered_by_state(operator):
    seat("TBL1", NOT_ON_ANY_MENU)
    seat("TBL2")
    testing.deliver(later=True)
    assert found(operator, state=ORDERING) == ["TBL1"]
    assert found(operator, state=CLOSED) == ["TBL2"]
    assert found(operator, state=NEEDS_MANAGER) == []


def test_processes_are_filtered_by_what_they_need(operator, settings):
    dead, overdue, stopped, late, fine = (seat(f"TBL{number}") for number in range(5))
    OutboxMessage.objects.filter(saga_id=dead, type="PlaceOrder").update(
        payload={"table": "TBL0", "menu": [], "wish": []}
    )
    TableService.objects.filter(pk=overdue).update(standing=OVERDUE)
    TableService.objects.filter(pk=stopped).update(standing=STOPPED, state=NEEDS_MANAGER)
    OutboxMessage.objects.filter(saga_id=late, type="DeadlinePassed").update(
        available_at=timezone.now() - timedelta(minutes=1)
    )
    claim = InboxMessage.objects.filter(saga_id=dead).latest("id")
    claim.status = "dead"
    claim.save()
    assert found(operator, attention="dead") == ["TBL0"]
    assert found(operator, attention="failing") == []
    assert found(operator, attention="overdue") == ["TBL3", "TBL1"]
    assert found(operator, attention="manager") == ["TBL2"]
    assert found(operator, attention="any") == ["TBL3", "TBL2", "TBL1", "TBL0"]
    assert state_of(fine) == ORDERING
    claim.status = "failed"
    claim.save()
    assert found(operator, attention="failing") == ["TBL0"]


def test_processes_are_filtered_by_when_they_started(operator):
    moments = [datetime(2026, 3, day, 12, tzinfo=timezone.get_current_timezone()) for day in (1, 2, 3)]
    for day, at in enumerate(moments, 1):
        TableService.objects.create(id=UUID(int=first_id(at).int + 5), table=f"DAY{day}", started_at=at)
    assert found(operator, started_at_from_0="2026-03-02") == ["DAY3", "DAY2"]
    assert found(operator, started_at_to_0="2026-03-02") == ["DAY2", "DAY1"]
    between = {"started_at_from_0": "2026-03-02", "started_at_to_0": "2026-03-02"}
    assert found(operator, **between) == ["DAY2"]
    assert found(operator, **between, started_at_from_1="12:00:01") == []
    assert found(operator, **between, started_at_from_1="12:00:00", started_at_to_1="12:00:00") == ["DAY2"]


@pytest.mark.parametrize(
    "query",
    [
        {"started_at_from_0": "yesterday"},
        {"started_at_from_0": "2026-02-31"},
        {"started_at_from_0": "2026-03-02", "started_at_from_1": "25:61"},
        {"started_at_from_0": "0001-01-01"},
        {"attention": "nonsense"},
        {"p": "99999"},
        {"o": "99"},
        {"q": "\x00"},
        {"q": "'; DROP TABLE orders_tableservice; --"},
        {"q": "%"},
    ],
)
def test_nonsense_in_the_address_is_no_error(operator, query):
    seat("TBL1")
    assert operator.get(PROCESSES, query, follow=True).status_code == 200


# --- Searching ------------------------------------------------------------------------------------


def test_processes_are_found_by_their_table_and_by_what_it_begins_with(operator):
    seat("TBL1"), seat("TBL2"), seat("BAR7")
    assert found(operator, q="TBL1") == ["TBL1"]
    assert found(operator, q="tbl") == ["TBL2", "TBL1"]
    assert found(operator, q="ar7") == []


def test_a_process_is_found_by_its_id_however_it_is_written(operator):
    seat("TBL1")
    second = seat("TBL2")
    for written in (str(second), second.hex, f" {second} ", str(second).upper()):
        assert found(operator, q=written) == ["TBL2"]
    assert found(operator, q=uuid4()) == []


def test_processes_are_found_by_the_text_of_an_error(operator, cold_oven):
    spoil_a_pizza("TBL1")
    seat("TBL2", NOT_ON_ANY_MENU)
    assert found(operator, q="oven is COLD") == ["TBL1"]
    assert found(operator, q="not on the menu") == ["TBL2"]


def test_what_is_searched_for_is_searched_for_among_what_is_filtered(operator, cold_oven):
    spoil_a_pizza("TBL1")
    seat("TBL2", NOT_ON_ANY_MENU)
    seat("TBL3")
    assert found(operator, q="TBL", attention="dead") == ["TBL2", "TBL1"]
    assert found(operator, q="oven is cold", attention="any") == ["TBL1"]
    assert found(operator, q="oven is cold", attention="overdue") == []
    assert found(operator, q="not on the menu", state=ORDERING) == ["TBL2"]


def test_where_many_tables_begin_alike_they_are_found_and_so_are_the_newest_errors(operator, monkeypatch):
    monkeypatch.setattr(listing, "MANY", 1)
    seat("NONESUCH1"), seat("NONESUCH2")
    seat("TBL1", NOT_ON_ANY_MENU), seat("TBL2", NOT_ON_ANY_MENU)
    assert found(operator, q="nonesuch") == ["TBL2", "NONESUCH2", "NONESUCH1"]


def test_the_list_is_sorted_by_age_and_by_nothing_else(operator):
    seat("TBL2"), seat("TBL1")
    seat("TBL3")
    age = str(1 + ["name", "scenario", "badge", "step", "age"].index("age"))
    assert found(operator, o=f"-{age}") == ["TBL2", "TBL1", "TBL3"]
    assert found(operator, o=age) == ["TBL3", "TBL1", "TBL2"]
    for other in ("1", "2", "-1.2"):
        assert found(operator, o=other) == ["TBL3", "TBL1", "TBL2"]


def test_each_page_shows_the_next_ones_of_all_scenarios(operator, monkeypatch):
    monkeypatch.setattr(ProcessAdmin, "list_per_page", 2)
    for number in range(3):
        seat(f"TBL{number}")
        with transaction.atomic():
            SimpleServing.begin(StartSimpleServing(table=f"BAR{number}"))
        testing.deliver()
    pages = [found(operator, p=str(number)) for number in (1, 2, 3)]
    assert pages == [["BAR2", "TBL2"], ["BAR1", "TBL1"], ["BAR0", "TBL0"]]
    assert len(found(operator, all="")) == 6


# --- Figures --------------------------------------------------------------------------------------


def figures() -> dict[str, str]:
    return {counter.label: counter.figure for counter in counters.counters()}


def test_the_counters_tell_how_the_house_stands(operator, cold_oven):
    spoil_a_pizza("TBL1")
    cold_oven.cold = False
    seat("TBL2")
    testing.deliver(later=timedelta(seconds=0))
    TableService.objects.filter(table="TBL3").delete()
    assert figures() == {"running": "2", "waiting for a guest": "1", "failing": "1", "finished today": "0"}
    testing.deliver(later=True)
    assert figures()["finished today"] == "1"
    assert figures()["running"] == "1"


def test_a_counter_leads_to_its_list(operator, cold_oven):
    spoil_a_pizza("TBL1")
    seat("TBL2")
    html = operator.get(PROCESSES).content.decode()
    links = re.findall(r'href="\?([^"]+)">\s*<strong class="office-figure">(\d+)', html)
    assert len(links) == 2
    for link, figure in links:
        query = dict(part.split("=") for part in link.replace("&amp;", "&").split("&"))
        assert len(found(operator, **query)) == int(figure)


def test_completions_are_charted_by_minute():
    now = timezone.now()
    for minutes, count in {1: 3, 2: 1, 40: 7}.items():
        for number in range(count):
            TableService.objects.create(
                table=f"T{minutes}-{number}", state=CLOSED, finished_at=now - timedelta(minutes=minutes)
            )
    completions, _waiting = counters.charts()
    assert [bar.text for bar in completions.bars][-3:-1] == ["1", "3"]
    assert [bar.height for bar in completions.bars][-3:-1] == [33, 100]
    assert sum(int(bar.text) for bar in completions.bars) == 4
    assert completions.figure == "3 in the last whole minute"


def test_the_oldest_waiting_message_is_charted_by_queue(cold_oven):
    _completions, waiting = counters.charts()
    assert waiting.figure == "nothing waits"
    spoil_a_pizza("TBL1")
    InboxMessage.objects.filter(status="dead").update(handled_at=timezone.now() - timedelta(hours=2))
    with transaction.atomic():
        TableService.begin(StartTableService(table="TBL2"))
    _completions, waiting = counters.charts()
    assert waiting.figure.replace("\xa0", " ") == "2 hours, kitchen"
    assert {bar.label for bar in waiting.bars} == {"kitchen", "orders"}


def test_the_list_is_a_view_that_shows_exactly_the_processes_there_are():
    sagas = {seat("TBL1"), seat("TBL2")}
    assert set(Process.objects.values_list("pk", flat=True)) == sagas
    process = Process.objects.get(table="TBL1")
    assert process.saga == TableService.objects.get(table="TBL1")
    assert str(process) == "TBL1 (ordering)"
