"""How the house stands, in figures above the list. Whatever is counted is counted so far and no further, so
that the answer comes at once however much there is."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce, Now, TruncMinute
from django.utils import timezone

from orders.office.models import Process
from orders.office.words import in_words
from orders.saga import scenarios
from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from pizzahouse.messaging.paging import FAR
from pizzahouse.messaging.relay import LEASE_SECONDS

MINUTES = 30  # of the chart
MOST_LOOKED_AT = 1000  # messages that wait, each of the three ways
LEASE = timedelta(seconds=LEASE_SECONDS)  # so far ahead may be what is due and not sent


@dataclass(frozen=True)
class Counter:
    """A figure, and the list behind it."""

    label: str
    figure: str
    query: str = ""
    bad: bool = False


@dataclass(frozen=True)
class Bar:
    """A bar of a chart: how high, from 0 to 100, and what it says."""

    height: int
    label: str
    text: str


@dataclass(frozen=True)
class Chart:
    """A small chart, with its newest figure in words."""

    title: str
    figure: str
    bars: list[Bar]
    named: bool = False  # each bar shows its label


def counters() -> list[Counter]:
    """Running, waiting for a guest, failing, finished today."""
    guests = {state for scenario in scenarios() for state in scenario.for_guests}
    running = (
        Process.objects.order_by()
        .filter(finished_at=None)[:FAR]
        .aggregate(all=Count("pk"), waiting=Count("pk", filter=Q(state__in=guests)))
    )
    failing = InboxMessage.objects.in_trouble().order_by().filter(saga_id__isnull=False)
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    finished = Process.objects.order_by().filter(finished_at__gte=midnight)
    return [
        Counter("running", _figure(running["all"]), urlencode({"finished_at__isnull": True})),
        Counter("waiting for a guest", _figure(running["waiting"])),
        Counter(
            "failing",
            _figure(trouble := failing.values("saga_id").distinct()[:FAR].count()),
            urlencode({"attention": "any"}),
            bad=trouble > 0,
        ),
        Counter("finished today", _figure(finished[:FAR].count())),
    ]


def _figure(count: int) -> str:
    return f"{count:,}" if count < FAR else f"{FAR:,}+"


# --- Charts ---------------------------------------------------------------------------------------


def charts() -> list[Chart]:
    """Completions per minute, and how long the oldest message of each queue has been waiting."""
    return [_completions(timezone.now()), _waiting(timezone.now())]


def _completions(now: datetime) -> Chart:
    first = now.replace(second=0, microsecond=0) - timedelta(minutes=MINUTES - 1)
    ended = Process.objects.order_by().filter(finished_at__gte=first)
    by_minute: dict[Any, int] = dict(
        ended.annotate(minute=TruncMinute("finished_at")).values_list("minute").annotate(Count("pk"))
    )
    minutes = [first + timedelta(minutes=each) for each in range(MINUTES)]
    counts = [by_minute.get(minute, 0) for minute in minutes]
    most = max(*counts, 1)
    bars = [
        Bar(round(100 * count / most), f"{timezone.localtime(minute):%H:%M}", f"{count}")
        for minute, count in zip(minutes, counts, strict=True)
    ]
    return Chart("completions per minute", f"{counts[-2]} in the last whole minute", bars)


def _waiting(now: datetime) -> Chart:
    """Not sent though due, failing, or sent and not handled."""
    oldest = oldest_waiting()
    ages = {queue: (now - since).total_seconds() for queue, since in sorted(oldest.items())}
    most = max(*ages.values(), 1.0, 1.0)
    bars = [
        Bar(round(100 * max(age, 0) / most), queue, in_words(oldest[queue], now))
        for queue, age in ages.items()
    ]
    worst = max(ages, key=lambda queue: ages[queue], default=None)
    figure = f"{in_words(oldest[worst], now)}, {worst}" if worst else "nothing waits"
    return Chart("the oldest waiting message", figure, bars, named=True)


def oldest_waiting() -> dict[str, datetime]:
    """Since when the oldest message of each queue has been waiting. Of very many, only the oldest are looked
    at: what is younger is no trouble yet."""
    outbox, due = OutboxMessage.objects, Q(due_at=None) | Q(due_at__lte=Now())
    pending = outbox.filter(due, sent_at=None, available_at__lte=Now() + LEASE).order_by("available_at")
    failing = InboxMessage.objects.in_trouble().order_by("saga_id")
    waiting: list[tuple[str, Any]] = [
        *pending.values_list("destination", Coalesce("due_at", "created_at"))[:MOST_LOOKED_AT],
        *_sent_and_not_handled(),
        *failing.values_list("handler", "handled_at")[:MOST_LOOKED_AT],
    ]
    oldest: dict[str, datetime] = {}
    for address, since in waiting:
        queue = address.partition(".")[0]
        oldest[queue] = min(oldest.get(queue, since), since)
    return oldest


def _sent_and_not_handled() -> Iterator[tuple[str, datetime]]:
    """To where, and since when, of the oldest ones. Claims are looked up for each, as relays do: PostgreSQL
    answers EXISTS now and then by reading the whole inbox."""
    claims = InboxMessage.objects.filter(message_id=OuterRef("id")).exclude(status__in=InboxMessage.TROUBLE)
    sent = OutboxMessage.objects.filter(sent_at__isnull=False, available_at__isnull=False)
    looked_at = sent.order_by("available_at").annotate(claim=Subquery(claims.values("pk")[:1]))
    rows = looked_at.values_list("destination", "sent_at", "claim")[:MOST_LOOKED_AT]
    return ((destination, since) for destination, since, claim in rows if claim is None and since)
