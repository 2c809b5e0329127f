"""How much each page of the office asks of the database: statements, and milliseconds."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from statistics import median
from time import perf_counter
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from orders.bench import plans
from orders.office import mendings, scope
from orders.office.models import Mending, Process
from pizzahouse.messaging import dead_letters
from pizzahouse.messaging.models import InboxMessage

Examples = dict[str, UUID]  # a process of each kind


@dataclass(frozen=True)
class Statement:
    """A statement, and the seconds that it took."""

    seconds: float
    sql: str
    params: Any


@dataclass
class Asked:
    """What a page asked of the database, once."""

    statements: list[Statement] = field(default_factory=list)

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        began = perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            self.statements.append(Statement(perf_counter() - began, str(sql), params))

    @property
    def milliseconds(self) -> float:
        """Of the database, all in all."""
        return sum(each.seconds for each in self.statements) * 1000

    @property
    def slowest(self) -> Statement:
        """The one that took longest."""
        return max(self.statements, key=lambda each: each.seconds)


@dataclass(frozen=True)
class Page:
    """A page, and what it asked: the first time, and of the other times."""

    name: str
    statements: int
    cold: float  # milliseconds
    warm: float  # milliseconds, the median
    slowest: str  # statement
    plan: str  # of that
    reads_whole: list[str]  # big tables that a statement of it reads from end to end


def measure(examples: Examples, times: int) -> Iterator[Page]:
    """Ask for each page, so many times after the first, and tell what that took. Raises RuntimeError where
    one does not answer, or asks now so many statements and now so many."""
    client, big = log_in(), plans.big_tables()
    for name, url in pages(examples):
        first, *others = [ask(client, url) for _ in range(times + 1)]
        counts = {len(each.statements) for each in others}
        if len(counts) > 1:
            raise RuntimeError(f"{name} asks {sorted(counts)} statements: they are not constant.")
        slowest = max((each.slowest for each in others), key=lambda each: each.seconds)
        yield Page(
            name,
            counts.pop(),
            round(first.milliseconds, 1),
            round(median(each.milliseconds for each in others), 1),
            slowest.sql,
            plans.told(slowest.sql, slowest.params),
            sorted({t for each in first.statements for t in plans.read_whole(each.sql, each.params, big)}),
        )


def log_in() -> Client:
    """Somebody who may do everything."""
    user, _made = User.objects.get_or_create(username="bench", is_staff=True, is_superuser=True)
    client = Client(headers={"host": "localhost"})
    client.force_login(user)
    return client


def ask(client: Client, url: str) -> Asked:
    """Ask for a page. Raises RuntimeError where it does not answer."""
    asked = Asked()
    with connection.execute_wrapper(asked):
        response = client.get(url)
    if response.status_code != 200:
        raise RuntimeError(f"{url} answers {response.status_code}.")
    return asked


# --- The pages ------------------------------------------------------------------------------------


def pages(examples: Examples) -> Iterator[tuple[str, str]]:
    """Each page, by its name, and its address."""
    for name, query in lists(examples):
        yield name, f"{reverse('admin:office_process_changelist')}?{urlencode(query)}"
    for kind, saga in examples.items():
        yield f"process: {kind}", reverse("admin:office_process_change", args=[saga])
    yield "process: refresh", reverse("admin:office_process_live", args=[examples["failing"]])
    for action in ("retry", "cancel"):
        url = reverse("admin:office_process_mend", args=[examples["failing"], action])
        yield f"process: {action}, preview", url
    yield from _pages_of_mendings()
    yield from _pages_of_messages()
    yield "metrics", reverse("metrics")


def lists(examples: Examples) -> Iterator[tuple[str, dict[str, Any]]]:
    """The list of processes, filtered and searched in every way."""
    today = timezone.localdate()
    yield "list", {}
    yield "list: page 2", {"p": 2}
    yield "list: page 100", {"p": 100}
    yield "list: the oldest first", {"o": "-5"}
    for need in ("any", "failing", "dead", "overdue", "manager"):
        yield f"list: attention, {need}", {"attention": need}
    for state in ("ordering", "baking", "recalling", "needs_manager", "closed", "called_off"):
        yield f"list: state, {state}", {"state": state}
    for scenario in ("table_service", "simple_serving"):
        yield f"list: scenario, {scenario}", {"scenario": scenario}
    yield "list: started today", {"started_at_from_0": today}
    week = {
        "started_at_from_0": today - timedelta(days=40),
        "started_at_to_0": today - timedelta(days=33),
    }
    yield "list: started in a week", week
    yield "list: running", {"standing__exact": "running"}
    yield "list: state and scenario", {"state": "closed", "scenario": "simple_serving"}
    yield "list: attention and state", {"attention": "dead", "state": "ordering"}
    yield "list: attention and week", {"attention": "any"} | week
    yield "list: state and week", {"state": "called_off"} | week
    for what, text in {
        "table": "TBL77",
        "many tables": "TBL",
        "table, in small letters": "bar12",
        "no table": "nowhere",
        "id": examples["failing"],
        "frequent error": "not on the menu",
        "one error": "(order 333)",
        "no error": "there is a fly in my soup",
    }.items():
        yield f"search: {what}", {"q": text}
    yield "search: table among the dead", {"q": "DEAD", "attention": "dead"}
    yield "search: error among the ordering", {"q": "not on the menu", "state": "ordering"}


def _pages_of_mendings() -> Iterator[tuple[str, str]]:
    rows = Process.objects.values_list("pk", "table")[: mendings.MOST]
    user = User.objects.get(username="bench")
    many = mendings.prepare(Mending.Action.RETRY, scope.processes(rows), user, "the newest")
    yield "mendings", reverse("admin:office_mending_changelist")
    yield "mendings: one of many", reverse("admin:office_mending_change", args=[many.pk])


def _pages_of_messages() -> Iterator[tuple[str, str]]:
    yield "dead letters", reverse("office:dead_letters")
    [group] = dead_letters.groups(1)
    yield "dead letters: a group", reverse("office:dead_group", args=[group.kind.key])
    yield "dead letters: a message", reverse("office:dead_message", args=[group.example.pk])
    yield "queues", reverse("office:queues")
    outbox = reverse("admin:messaging_outboxmessage_changelist")
    inbox = reverse("admin:messaging_inboxmessage_changelist")
    yield "outbox", outbox
    yield "outbox: not sent", f"{outbox}?sent_at__isempty=1"
    yield "inbox", inbox
    yield "inbox: dead", f"{inbox}?status__exact=dead"
    saga = InboxMessage.objects.filter(saga_id__isnull=False).latest("id").saga_id
    yield "inbox: of a process", f"{inbox}?q={saga}"
