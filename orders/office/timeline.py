"""The timeline of one process, from the rows that its messages left: what came of each, what caused it, what
failed, and where nothing happened. However many there are, it asks the database three times, and shows the
first ones and the newest."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median_low
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import Count, F, Min, Q, Window
from django.db.models.functions import RowNumber

from orders.office import items
from orders.office.diagram import Way
from orders.office.items import Item, Link, outbox_url
from orders.office.words import in_words, number_of
from orders.saga import Saga
from pizzahouse.messaging.models import InboxMessage, OutboxMessage

FIRST, NEWEST = 20, 280  # messages shown, where there are more
MOST_PROBLEMS = 50
MOST_EFFECTS = 20  # of one message that are linked
IDLE_SECONDS = 10.0  # a shorter pause is none
ASKED_AGAIN = Saga.ask_again.__name__  # the one step that is in no scenario's table


@dataclass(frozen=True)
class Idle:
    """A time in which nothing happened, or messages that are not shown."""

    is_idle: ClassVar[bool] = True

    seconds: float
    text: str


@dataclass(frozen=True)
class Timeline:
    """What happened to a process."""

    items: list[Item | Idle]  # the newest first
    problems: list[Item]  # what fails or is dead; the newest failure first
    left_out: int  # messages that are not among the items
    more_problems: int  # that are not among the problems
    way: Way


def timeline(saga: Saga, now: datetime) -> Timeline:
    """The timeline of this process, in three statements."""
    rows = _rows(saga.pk)
    claims = {claim.message_id: claim for claim in _claims(saga.pk, rows)}
    steps = _steps(saga.pk)
    total = rows[0].total if rows else 0
    causes = {row.id: row.causation_id for row in rows}
    told = [items.put(row, claims.get(row.id), now) for row in rows]
    told = list(_linked(told, causes, all_shown=total == len(rows)))
    problems = _problems(claims.values(), told, now)
    failing = sum(step["failing"] for step in steps)
    return Timeline(
        items=list(_with_gaps(told, _instants(rows, claims), total - len(rows)))[::-1],
        problems=problems,
        left_out=total - len(rows),
        more_problems=max(failing - len(problems), 0),
        way=_way(saga, steps, troubled=failing > 0),
    )


# --- Rows -----------------------------------------------------------------------------------------


def _rows(saga_id: UUID) -> list[Any]:
    """The first and the newest messages that were put, the oldest first, each with how many there are."""
    order = [F("created_at").asc(), F("id").asc()]
    rows = OutboxMessage.objects.filter(saga_id=saga_id).annotate(
        place=Window(RowNumber(), order_by=order), total=Window(Count("id"))
    )
    few = rows.filter(Q(place__lte=FIRST) | Q(place__gt=F("total") - NEWEST))
    return list(few.defer("trace", "available_at").order_by("created_at", "id"))


def _claims(saga_id: UUID, rows: Sequence[OutboxMessage]) -> list[InboxMessage]:
    """What came of them; and the newest problems, whether they are among them or not."""
    inbox = InboxMessage.objects.filter(saga_id=saga_id)
    failing = inbox.in_trouble().order_by("-handled_at", "-id")
    wanted = Q(message_id__in=[row.id for row in rows]) | Q(pk__in=failing.values("pk")[:MOST_PROBLEMS])
    return list(inbox.filter(wanted).order_by("id"))


def _steps(saga_id: UUID) -> list[dict[str, Any]]:
    """From state to state: how often, when first, and how many messages fail."""
    alike = InboxMessage.objects.filter(saga_id=saga_id).order_by().values("step", "from_state", "to_state")
    failing = Count("id", filter=Q(status__in=InboxMessage.TROUBLE, attempts__gt=0))
    counted = alike.annotate(times=Count("id"), first=Min("handled_at"), place=Min("id"), failing=failing)
    return [dict(row) for row in counted]


def _way(saga: Saga, steps: Sequence[dict[str, Any]], *, troubled: bool) -> Way:
    made = [step for step in steps if step["step"] not in ("", ASKED_AGAIN)]
    made.sort(key=lambda step: (step["first"], step["place"]))
    travelled = [(step["from_state"], step["to_state"]) for step in made for _ in range(step["times"])]
    troubled = saga.outcome is None and (troubled or saga.state in saga.for_humans)
    return Way(tuple(travelled), saga.state, troubled)


# --- Causes and problems --------------------------------------------------------------------------


def _linked(told: Sequence[Item], causes: dict[UUID, UUID | None], *, all_shown: bool) -> Iterator[Item]:
    """The same, each with what caused it and what it caused."""
    known = {item.id: item for item in told}
    effects: dict[UUID | None, list[Link]] = defaultdict(list)
    for item in told:
        if not item.is_quiet:
            effects[causes[item.id]].append(_link(item.id, known))
    for item in told:
        cause, caused = causes[item.id], effects[item.id]
        rest = len(caused) - MOST_EFFECTS
        yield replace(
            item,
            cause=_link(cause, known) if cause else None,
            effects=tuple(caused[:MOST_EFFECTS]),
            more_effects="" if rest <= 0 else f"and {rest} more" if all_shown else "and more",
        )


def _link(message_id: UUID, known: dict[UUID, Item]) -> Link:
    """To its place in the timeline; where it is not shown there, to its own page."""
    item = known.get(message_id)
    return Link(item.type, f"#{item.anchor}") if item else Link("not shown here", outbox_url(message_id))


def _problems(claims: Iterable[InboxMessage], told: Sequence[Item], now: datetime) -> list[Item]:
    """What fails or is dead, the newest failure first."""
    known = {item.id: item for item in told}
    failing = [claim for claim in claims if claim.is_in_trouble]
    failing.sort(key=lambda claim: (claim.handled_at, claim.pk), reverse=True)
    return [known.get(claim.message_id) or items.came(claim, now) for claim in failing[:MOST_PROBLEMS]]


# --- Gaps -----------------------------------------------------------------------------------------


def _instants(rows: Iterable[OutboxMessage], claims: Mapping[UUID, InboxMessage]) -> list[datetime]:
    """When something happened."""
    found = [at for row in rows for at in (row.created_at, row.sent_at) if at]
    for claim in claims.values():
        found += [datetime.fromisoformat(failure["at"]) for failure in claim.failures or []]
        if claim.status not in claim.TROUBLE:
            found.append(claim.handled_at)
    return sorted(found)


def _with_gaps(told: Sequence[Item], instants: Sequence[datetime], left_out: int) -> Iterator[Item | Idle]:
    """The items, and between two of them the time in which nothing happened, if that was long."""
    pauses = [_longest_pause(a.at, b.at, instants) for a, b in pairwise(told)]
    typical = median_low(pauses) if pauses else 0.0
    for number, item in enumerate(told):
        if number == FIRST and left_out:
            yield Idle(
                (item.at - told[number - 1].at).total_seconds(), f"{number_of(left_out, 'message')} not shown"
            )
        elif number and (pause := pauses[number - 1]) > max(IDLE_SECONDS, 2 * typical):
            yield Idle(pause, f"nothing for {in_words(item.at - timedelta(seconds=round(pause)), item.at)}")
        yield item


def _longest_pause(since: datetime, until: datetime, instants: Sequence[datetime]) -> float:
    """In seconds, between these two."""
    within = instants[bisect_left(instants, since) : bisect_right(instants, until)]
    return max((b - a for a, b in pairwise(within)), default=timedelta()).total_seconds()
