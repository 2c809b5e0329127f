"""`/metrics`: that Prometheus can read the page, that it is right, and who may see it."""

import re
from collections import Counter as Tally
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import OperationalError, connection, transaction
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from orders.contracts import Cancel, StartTableService
from orders.saga import OVERDUE, scenarios
from orders.table_service import ORDERING, TableService
from pizzahouse.messaging import consumer, metrics, testing
from pizzahouse.messaging.handling import handlers
from pizzahouse.messaging.messages import contracts
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from tests.unit import elsewhere
from tests.unit.postoffice import Counter, committed, post, redeliver
from tests.unit.test_failures import fail, kill, work_through
from tests.unit.test_table_service import Table, baking

pytestmark = pytest.mark.django_db

TOKEN = "spaghetti-alla-chitarra"
WITH_TOKEN = {"Authorization": f"Bearer {TOKEN}"}
PARCEL = "tests.SendParcel"
HANDLED = "messaging_messages_handled_total"
Page = dict[tuple[str, ...], float]


@pytest.fixture(autouse=True)
def _token(settings: Settings) -> None:
    settings.MESSAGING = settings.MESSAGING | {"METRICS_TOKEN": TOKEN}


def shown() -> str:
    """The page."""
    response = Client().get("/metrics", headers=WITH_TOKEN)
    assert response.status_code == 200
    return response.text


def families() -> list[Metric]:
    """What is on it, as Prometheus reads it."""
    return list(text_string_to_metric_families(shown()))


def series() -> Page:
    """Each series by its name and its labels' values, in the order of the labels' names."""
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in families()
        for sample in family.samples
    }


def more_after(act: Callable[[], object]) -> Tally[tuple[str, ...]]:
    """Of what there is more after an act, and how much: other tests count, too."""
    before = Tally(series())
    act()
    return Tally(series()) - before


def serve_a_table() -> None:
    with transaction.atomic():
        TableService.begin(StartTableService(table="TBL1"))
    testing.deliver()


def walk_through_everything(counter: Counter) -> None:
    """A message of each outcome, one that cannot be read, one of a type that is no more, and a table."""
    serve_a_table()
    for deed in (fail, fail, lambda command: None):
        counter.on_parcel = deed
        testing.hand(post())
    redeliver(post())
    consumer.keep_unreadable("{", "it is cut off")
    InboxMessage.objects.filter(status="failed").update(type="RetiredLongAgo")
    OutboxMessage.objects.filter(sent_at=None).update(type="RetiredLongAgo")


# --- Prometheus can read it -----------------------------------------------------------------------


def test_every_family_is_told_once_with_its_help_and_its_type(counter: Counter) -> None:
    walk_through_everything(counter)
    told = families()
    assert [name for name, times in Tally(family.name for family in told).items() if times > 1] == []
    for family in told:
        assert family.documentation.endswith((".", ")")) or not family.name.startswith(("messaging", "sagas"))
        assert family.documentation, family.name
        assert family.type in {"counter", "gauge", "histogram"}, family.name
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", family.name)


def test_no_series_is_told_twice(counter: Counter) -> None:
    walk_through_everything(counter)
    told = [(each.name, *sorted(each.labels.items())) for family in families() for each in family.samples]
    assert [name for name, times in Tally(told).items() if times > 1] == []
    assert len(told) > 100


def test_counters_are_named_as_such_and_nothing_else_is() -> None:
    types = dict(re.findall(r"^# TYPE (\S+) (\w+)$", shown(), re.MULTILINE))
    assert set(types.values()) == {"counter", "gauge", "histogram"}
    assert {name for name, kind in types.items() if kind == "counter"} == {
        name for name in types if name.endswith("_total")
    }
    assert not [name for name in types if name.endswith("_created")]


def test_no_label_takes_values_that_others_choose(counter: Counter) -> None:
    walk_through_everything(counter)
    allowed = {
        "handler": {*handlers(), metrics.UNKNOWN},
        "outcome": {*metrics.OUTCOMES, *(end for each in scenarios() for end in each.outcomes.values())},
        "type": {*(contract.__name__ for contract in contracts()), metrics.UNKNOWN},
        "scenario": {scenario.label() for scenario in scenarios()},
        "state": {
            *(state for each in scenarios() for step in each.steps().values() for state in step.targets),
            metrics.UNKNOWN,
        },
        "why": {"failed", "unhandled"},
        "le": {*map(str, map(float, metrics.BUCKETS)), "+Inf"},
    }
    for family in families():
        if family.name.startswith(("python", "process")):
            continue  # prometheus_client's own
        for sample in family.samples:
            for label, value in sample.labels.items():
                assert value in allowed[label], (sample.name, label)


# --- It is right ----------------------------------------------------------------------------------


def test_each_delivery_is_counted_by_what_came_of_it(counter: Counter) -> None:
    letter = post()

    def deliver_it_four_times() -> None:
        counter.on_parcel = fail
        testing.hand(letter)
        counter.on_parcel = lambda command: None
        redeliver(letter)
        redeliver(letter)
        testing.hand(letter)

    more = more_after(deliver_it_four_times)
    assert more[HANDLED, PARCEL, "failed"] == 1
    assert more[HANDLED, PARCEL, "done"] == 1
    assert more[HANDLED, PARCEL, "repeated"] == 2
    assert more["messaging_retries_total", PARCEL] == 2
    assert more["messaging_handling_seconds_count", PARCEL] == 4
    assert series()["messaging_messages_in_progress",] == 0


def test_the_attempt_after_which_a_message_is_dead_is_counted_as_such(
    counter: Counter, settings: Settings
) -> None:
    settings.MESSAGING = settings.MESSAGING | {"MAX_ATTEMPTS": 1}
    counter.on_parcel = fail
    more = more_after(lambda: testing.hand(post()))
    assert (more[HANDLED, PARCEL, "failed"], more[HANDLED, PARCEL, "dead"]) == (0, 1)
    assert more["messaging_dead", "SendParcel"] == 1


def test_a_step_that_comes_too_late_is_counted_as_ignored() -> None:
    table = baking()
    more = more_after(lambda: table.when(Cancel(reason="rain", by="guest")).when(StartTableService("TBL1")))
    assert more[HANDLED, "orders.table_service.Cancel", "done"] == 1
    assert more[HANDLED, "orders.table_service.StartTableService", "ignored"] == 1


@committed
def test_what_the_database_cannot_take_is_counted_as_put_back(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pizzahouse.messaging.handling.PAUSE_WITHOUT_DATABASE", 0)
    letter = post()

    def refuse(command: object) -> None:
        raise OperationalError("database is locked")

    def deliver() -> None:
        counter.on_parcel = refuse
        with pytest.raises(OperationalError):
            testing.hand(letter)

    more = more_after(deliver)
    assert more[HANDLED, PARCEL, "put_back"] == 1
    assert series()["messaging_messages_in_progress",] == 0


def test_a_message_that_nobody_handles_counts_as_unknown() -> None:
    more = more_after(lambda: consumer.keep_unreadable("{}", "nobody here handles 'DoPasta'"))
    assert more[HANDLED, metrics.UNKNOWN, "dead"] == 1
    assert more["messaging_dead", metrics.UNKNOWN] == 1


def test_a_message_of_a_type_that_is_no_more_counts_as_unknown(counter: Counter) -> None:
    counter.on_parcel = fail
    testing.hand(post())
    InboxMessage.objects.update(type="RetiredLongAgo")
    assert series()["messaging_failing", metrics.UNKNOWN] == 1
    assert "RetiredLongAgo" not in shown()


def test_the_outbox_tells_what_is_due_and_since_when() -> None:
    old, late, new = post(), post(delay=3600), post()
    age = {old: 90, late: 5000, new: 0}
    for letter, seconds in age.items():
        row = OutboxMessage.objects.filter(pk=letter.envelope.message_id)
        row.update(created_at=Now() - timedelta(seconds=seconds))
    told = series()
    assert told["messaging_outbox_pending",] == 2
    assert told["messaging_outbox_delayed",] == 1
    assert 90 <= told["messaging_outbox_oldest_seconds",] < 3600


def test_a_delayed_message_that_is_overdue_is_as_old_as_its_delay_is_over() -> None:
    row = OutboxMessage.objects.filter(pk=post(delay=60).envelope.message_id)
    row.update(created_at=Now() - timedelta(hours=9), due_at=Now() - timedelta(seconds=600))
    assert 600 <= series()["messaging_outbox_oldest_seconds",] < 3600


def test_an_outbox_where_nothing_waits_is_not_old() -> None:
    assert [series()[f"messaging_outbox_{what}",] for what in ("pending", "delayed", "oldest_seconds")] == [
        0
    ] * 3


def test_what_fails_is_told_by_type_with_the_attempts_of_the_worst(counter: Counter) -> None:
    counter.on_parcel = fail
    often, once = post(), post()
    for letter in (often, often, often, once):
        testing.hand(letter)
    told = series()
    assert told["messaging_failing", "SendParcel"] == 2
    assert told["messaging_failing_attempts", "SendParcel"] == 3
    assert told["messaging_failing", "DoPizza"] == 0
    assert told["messaging_dead", "SendParcel"] == 0


def test_a_worker_that_died_of_a_message_is_counted(counter: Counter) -> None:
    counter.on_parcel = kill
    more = more_after(lambda: work_through(post()))
    assert more["messaging_worker_deaths_total",] == 3
    assert more[HANDLED, PARCEL, "put_back"] == 4
    assert more["messaging_relay_resent_total", "failed"] == 2


def test_processes_that_run_are_told_by_state_and_those_that_ended_are_not() -> None:
    serve_a_table()
    baking()
    TableService.objects.filter(pk=baking().id).update(standing=OVERDUE)
    Table(ORDERING)
    told = series()
    running = {
        name[2]: number for name, number in told.items() if name[:2] == ("sagas_running", "table_service")
    }
    assert {state: number for state, number in running.items() if number} == {"baking": 2, "ordering": 1}
    assert {"needs_manager", "recalling", metrics.UNKNOWN} <= running.keys()
    assert running.keys().isdisjoint(TableService.outcomes)
    assert told["sagas_overdue", "table_service"] == 1
    assert told["sagas_overdue", "simple_serving"] == 0


def test_a_state_that_the_scenario_has_no_more_counts_as_unknown() -> None:
    Table("dancing")
    assert series()["sagas_running", "table_service", metrics.UNKNOWN] == 1


def test_processes_are_counted_when_they_begin_and_by_how_they_end() -> None:
    more = more_after(serve_a_table)
    assert more["sagas_started_total", "table_service"] == 1
    assert more["sagas_ended_total", "completed", "table_service"] == 1
    assert more[HANDLED, "kitchen.DoPizza", "done"] == 5

    def call_one_off() -> None:
        baking().when(Cancel(reason="rain", by="guest"))
        testing.deliver()

    more = more_after(call_one_off)
    assert more["sagas_ended_total", "called off", "table_service"] == 1
    assert more["sagas_ended_total", "completed", "table_service"] == 0


def test_a_step_that_is_told_twice_begins_and_ends_nothing_twice() -> None:
    serve_a_table()

    def repeat_everything() -> None:
        for letter in testing.letters():
            testing.hand(letter)

    more = more_after(repeat_everything)
    assert [name for name in more if name[0].startswith("sagas")] == []


def test_the_page_costs_the_database_a_few_statements_whatever_is_in_it(counter: Counter) -> None:
    with CaptureQueriesContext(connection) as empty:
        shown()
    walk_through_everything(counter)
    with CaptureQueriesContext(connection) as full:
        shown()
    assert len(empty) == len(full) <= 20


# --- The database is away -------------------------------------------------------------------------

ASK = """
from django.test import Client
response = Client(SERVER_NAME="localhost").get("/metrics", headers={"Authorization": "Bearer x"})
print(response.status_code, response.text)
"""


def test_the_page_is_there_when_the_database_is_not() -> None:
    away = "postgres://nobody:secret@127.0.0.1:1/nowhere"
    told = elsewhere.run(ASK, DATABASE_URL=away, PIZZAHOUSE_METRICS_TOKEN="x")
    status, page = told.split(maxsplit=1)
    assert status == "200"
    read = {family.name: family for family in text_string_to_metric_families(page)}
    assert read["messaging_database_up"].samples[0].value == 0
    assert "messaging_messages_handled" in read
    assert "messaging_outbox_pending" not in read
    assert "secret" not in page


def test_figures_that_the_database_does_not_tell_in_time_are_left_out_and_the_others_told() -> None:
    def refuse(run: Any, sql: str, *rest: Any) -> Any:
        if "orders_tableservice" in sql:
            raise OperationalError("canceling statement due to statement timeout")
        return run(sql, *rest)

    assert series()["messaging_database_up",] == 1
    with connection.execute_wrapper(refuse):
        told = series()
    assert told["messaging_database_up",] == 0
    assert told["messaging_outbox_pending",] == 0
    assert not any(name.startswith("sagas_running") for name, *_ in told)


# --- Who may see it -------------------------------------------------------------------------------


def logged_in(*permissions: str, staff: bool) -> Client:
    user = User.objects.create_user("somebody", is_staff=staff)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


@pytest.mark.parametrize(
    "authorization",
    [
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Bearer",
        "Bearer ",
        TOKEN,
        f"Basic {TOKEN}",
        "Bearer ü",
        "",
    ],
)
def test_whoever_does_not_know_the_token_sees_nothing(authorization: str) -> None:
    response = Client().get("/metrics", headers={"Authorization": authorization})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert "PIZZAHOUSE_METRICS_TOKEN" in response.text
    assert "messaging_" not in response.text
    assert TOKEN not in response.text


@pytest.mark.parametrize("authorization", [None, "Bearer ", "Bearer"])
def test_without_a_token_nobody_knows_it(settings: Settings, authorization: str | None) -> None:
    settings.MESSAGING = settings.MESSAGING | {"METRICS_TOKEN": ""}
    headers = {"Authorization": authorization} if authorization else {}
    assert Client().get("/metrics", headers=headers).status_code == 401


def test_staff_who_may_view_messages_see_it_in_their_browser() -> None:
    assert logged_in("view_outboxmessage", staff=True).get("/metrics").status_code == 200


@pytest.mark.parametrize(
    ("permission", "staff"), [("view_outboxmessage", False), ("view_inboxmessage", True)]
)
def test_others_who_are_logged_in_do_not(permission: str, staff: bool) -> None:
    assert logged_in(permission, staff=staff).get("/metrics").status_code == 401


def test_while_nobody_can_look_up_who_is_logged_in_the_token_is_asked_for() -> None:
    client = logged_in("view_outboxmessage", staff=True)

    def refuse(run: Any, sql: str, *rest: Any) -> Any:
        raise OperationalError("the database is away")

    with connection.execute_wrapper(refuse):
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers=WITH_TOKEN).status_code == 200


def test_a_developer_sees_it(settings: Settings) -> None:
    settings.DEBUG = True
    assert Client().get("/metrics").status_code == 200


def test_prometheus_is_not_sent_to_where_tls_is(settings: Settings) -> None:
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_REDIRECT_EXEMPT = ["^metrics$"]
    assert Client().get("/metrics", headers=WITH_TOKEN).status_code == 200
