"""The page of one process: what it tells, what can be done, and what was done."""

import hashlib
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.utils import timezone

from orders.office import diagram
from orders.office.actions import ACTIONS, Action
from orders.office.models import Mended
from orders.office.timeline import timeline
from orders.office.why import why
from orders.office.words import in_plain
from orders.saga import COMPLETED, RUNNING, Saga
from pizzahouse.messaging import effects, queues

Person = AbstractBaseUser | AnonymousUser
RECENT = 5  # mendings shown
FAST, SLOW = 2, 15  # seconds between two looks, while it runs and once it has ended


@dataclass(frozen=True)
class Page:
    """What is shown, and a token that changes with it."""

    context: dict[str, Any]
    token: str


def page_of(saga: Saga, user: Person) -> Page:
    """All that the page of this process shows to this user."""
    now = timezone.now()
    waiting = saga.waits_for()
    told = timeline(saga, now)
    mended = list(_mendings(saga))
    actions = [each for each in ACTIONS.values() if may(user, each) and each.possible(saga, waiting)]
    context: dict[str, Any] = {
        "saga": saga,
        "scenario": saga._meta.verbose_name,
        "state": in_plain(saga.state),
        "tone": _tone(saga, told.problems),
        "why": why(saga, waiting, queues.look(), now),
        "diagram": diagram.svg(type(saga), told.way),
        "timeline": told,
        "effects": effects.of(saga.pk),
        "actions": actions,
        "mended": mended,
        "pause": FAST if saga.outcome is None or any(each.is_open for each in mended) else SLOW,
    }
    seen = repr((saga.version, saga.state, told, context["effects"], [each.name for each in actions]))
    return Page(context, hashlib.sha256(seen.encode()).hexdigest()[:16])


def _tone(saga: Saga, problems: Any) -> str:
    if saga.outcome:
        return "good" if saga.outcome == COMPLETED else "calm"
    if saga.standing != RUNNING:
        return "warn"
    return "bad" if problems else "run"


def _mendings(saga: Saga) -> Any:
    return (
        Mended.objects.filter(process_id=saga.pk)
        .exclude(status=Mended.Status.WAITING)
        .select_related("mending")
        .order_by("-id")[:RECENT]
    )


def may(user: Any, action: Action) -> bool:
    """Whether this user may mend so."""
    return bool(user.has_perm(action.permission))
