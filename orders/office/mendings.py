"""Mending, from what somebody asked for to what came of it: one process at once, many in the background.

Many are begun in stages (one, ten, the rest), each when all of the last have gone well; where one goes wrong
the mending halts by itself. It goes on in a worker: each look is a message that puts the next one, so that it
outlives whoever began it.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from itertools import islice
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Count, QuerySet
from django.db.models.functions import Now

from orders.office import audit, outcomes
from orders.office.actions import ACTIONS
from orders.office.contracts import MendOn
from orders.office.foresight import Asked, Refused, Watched
from orders.office.letters import LETTER_ACTIONS
from orders.office.models import Mended, Mending
from orders.office.words import named
from orders.saga import find
from pizzahouse.messaging import handling, outbox
from pizzahouse.messaging.models import InboxMessage
from pizzahouse.messaging.outstanding import Why

ADDRESS = "orders.office"
MOST = 10_000  # processes of one mending
BATCH = 100  # begun between two looks
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0  # seconds
Came, Status = Mended.Status, Mending.Status
GOOD, BAD = (Came.DONE, Came.RECOVERED), (Came.FAILED, Came.UNCHANGED)


# --- One, at once ---------------------------------------------------------------------------------


def mend(
    action: str, item: Mended, user: User, reason: str, details: dict[str, Any] | None = None
) -> Mending:
    """Do it, and see in a worker what comes of it. What the process itself is told is handled here and now.
    item: the process or the dead message, not saved yet. Raises Refused; then nothing was changed."""
    mending = Mending(action=action, user=user, by=str(user), reason=reason, details=details or {}, total=1)
    with transaction.atomic():
        mending.status, mending.begun_at, mending.turn = Status.RUNNING, Now(), 1
        mending.save()
        item.mending, item.position = mending, 1
        watched = _act(item)
        item.save()
        audit.begun([item])
        _look_again(mending, FIRST_PAUSE)
    if mending.is_told:
        for message_id in watched:
            handling.handle_now(message_id)
        look(mending.pk)
    return mending


# --- Many, in the background ----------------------------------------------------------------------


def prepare(action: str, items: Iterable[Mended], user: User, scope: str) -> Mending:
    """Keep what was selected, as it is now, to be looked at and begun. items: not saved yet. scope: in words.
    Raises Refused where there are none, or too many."""
    chosen = list(islice(items, MOST + 1))
    if not chosen:
        raise Refused("Nothing is selected: no process is in the list any more. Look at the list again.")
    if len(chosen) > MOST:
        raise Refused(f"These are more than {MOST:,}. Narrow the filter, and mend one part after the other.")
    with transaction.atomic():
        _drafts_of(user).delete()
        mending = Mending.objects.create(
            action=action, user=user, by=str(user), scope=scope, total=len(chosen)
        )
        for position, item in enumerate(chosen, 1):
            item.mending, item.position = mending, position
        Mended.objects.bulk_create(chosen, batch_size=1000)
    return mending


def _drafts_of(user: User) -> QuerySet[Mending]:
    """What this user has prepared and left."""
    return Mending.objects.filter(user=user, status=Status.DRAFT, created_at__lt=Now() - timedelta(days=1))


def begin(mending: Mending, user: User, reason: str) -> bool:
    """Begin what was prepared; False where somebody was faster."""
    begun = {"reason": reason, "begun_at": Now(), "user": user, "by": str(user)}
    return _change(mending, user, (Status.DRAFT,), Status.RUNNING, f"begun: {reason}", **begun)


def stop(mending: Mending, user: User) -> bool:
    """Begin no more of it; what was begun goes on. False where it does not run."""
    note = f"stopped by {user}"
    return _change(mending, user, (Status.RUNNING,), Status.STOPPED, note, ended_at=Now(), note=note)


def resume(mending: Mending, user: User) -> bool:
    """Go on with the rest, whatever has gone wrong so far. False where it was not stopped."""
    bad = sum(progress(mending)[each] for each in BAD)
    stopped = (Status.STOPPED, Status.HALTED)
    return _change(mending, user, stopped, Status.RUNNING, "resumed", tolerated=bad, ended_at=None, note="")


def _change(
    mending: Mending,
    who: User,
    before: tuple[Mending.Status, ...],
    after: Mending.Status,
    told: str,
    **values: Any,
) -> bool:
    with transaction.atomic():
        row = Mending.objects.select_for_update().filter(pk=mending.pk, status__in=before).first()
        if row is None:
            return False
        row.status = after
        row.turn += after == Status.RUNNING
        for name, value in values.items():
            setattr(row, name, value)
        row.save()
        audit.told(row, who, told)
        if after == Status.RUNNING:
            _look_again(row, 0.0)
    mending.refresh_from_db()
    return True


def progress(mending: Mending) -> Counter[str]:
    """How many of its items there are by status."""
    found = mending.processes.order_by().values_list("status").annotate(Count("pk"))
    return Counter(dict(found))


# --- In a worker ----------------------------------------------------------------------------------


def go_on(command: MendOn) -> None:
    """Look what came of it, begin the next ones, and come back."""
    mending, changed = look(command.mending, turn=command.turn)
    if mending is None:
        return
    if mending.status == Status.RUNNING or mending.processes.filter(status=Came.SENT).exists():
        _look_again(mending, FIRST_PAUSE if changed else command.pause)


@transaction.atomic
def look(mending_id: UUID, turn: int | None = None) -> tuple[Mending | None, bool]:
    """Settle what is known by now, and begin the next ones. Returns the mending, None where that is another
    turn's; and whether anything has changed."""
    rows = Mending.objects.select_for_update().annotate(now=Now())
    mending: Any = rows.exclude(status=Status.DRAFT).filter(pk=mending_id).first()
    if mending is None or (turn is not None and mending.turn != turn):
        return None, False
    open_ones = mending.processes.filter(status=Came.SENT).select_related("mending")
    settled = outcomes.settle(list(open_ones), mending.now)
    audit.settled(settled)
    return mending, _advance(mending) or bool(settled)


def _look_again(mending: Mending, pause: float) -> None:
    again = MendOn(mending.pk, mending.turn, min(max(pause, FIRST_PAUSE) * 2, LONGEST_PAUSE))
    outbox.put(again, to=ADDRESS, delay=pause)


def _advance(mending: Mending) -> bool:
    """Begin the next ones where all is well so far; tells whether anything has changed."""
    if mending.status != Status.RUNNING:
        return False
    counts = progress(mending)
    bad = sum(counts[each] for each in BAD) - mending.tolerated
    if bad > 0:
        return _end(
            mending,
            Status.HALTED,
            "It halted by itself: one did not recover."
            if bad == 1
            else f"It halted by itself: {bad} did not recover.",
        )
    if counts[Came.SENT]:
        return False
    if not counts[Came.WAITING]:
        return _end(mending, Status.FINISHED, "")
    _begin_next(mending, batch_after(sum(counts[each] for each in GOOD)))
    return True


def batch_after(good: int) -> int:
    """How many are begun at once, after so many have gone well: one, then ten, then the rest."""
    return 1 if good < 1 else 10 if good < 11 else BATCH


def _end(mending: Mending, status: Mending.Status, note: str) -> bool:
    mending.status, mending.note, mending.ended_at = status, note, Now()
    mending.save(update_fields=["status", "note", "ended_at"])
    return True


def _begin_next(mending: Mending, batch: int) -> None:
    """Begin so many; those that there is nothing to do for do not count."""
    waiting = mending.processes.filter(status=Came.WAITING).select_related("mending")[:BATCH]
    begun = []
    for item in waiting:
        try:
            with transaction.atomic():
                _act(item)
        except Refused as reason:
            item.status, item.result, item.settled_at = Came.REFUSED, str(reason), Now()
        item.save()
        begun.append(item)
        batch -= item.status != Came.REFUSED
        if batch == 0:
            break
    audit.begun(begun)


def _act(item: Mended) -> Watched:
    """Do it to one process or message. Raises Refused."""
    mending = item.mending
    asked = Asked(mending.by, mending.reason, mending.details)
    saga = find(item.process_id) if item.process_id else None
    if saga is not None:
        item.table, item.from_state, item.version = saga.table, saga.state, saga.version
    if item.letter_id is not None:
        watched = LETTER_ACTIONS[mending.action].act(_letter(item), asked)
    elif saga is None:
        raise Refused("This process does not exist any more.")
    else:
        waiting = saga.waits_for()
        item.before = named([each for each in waiting if each.why in (Why.FAILED, Why.DEAD)])
        watched = ACTIONS[mending.action].act(saga, waiting, asked)
    item.watched = {str(message_id): attempts for message_id, attempts in watched.items()}
    item.status, item.begun_at = Came.SENT, Now()
    if not watched:
        item.status, item.result, item.settled_at = Came.DONE, "done", Now()
    return watched


def _letter(item: Mended) -> InboxMessage:
    row = InboxMessage.objects.filter(pk=item.letter_id or 0).first()
    if row is None:
        raise Refused("This message does not exist any more.")
    item.before = f"{row.type} {row.status}: {row.error}"
    return row
