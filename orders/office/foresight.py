"""What would come of mending, before it is done: tried out in a transaction that is undone."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from django.db import transaction
from django.utils import timezone

from orders.office.words import in_plain, in_words
from orders.saga import Saga
from pizzahouse.messaging import messages
from pizzahouse.messaging.envelope import Envelope, Letter, unseal
from pizzahouse.messaging.errors import InvalidMessage, WorkerDied
from pizzahouse.messaging.inbox import Status
from pizzahouse.messaging.messages import Message
from pizzahouse.messaging.models import InboxMessage
from pizzahouse.messaging.outstanding import Outstanding

Watched = dict[UUID, int]  # the messages that tell what came of it, each with its attempts so far


class Refused(Exception):
    """It cannot be done now: why, and what to do instead."""


@dataclass(frozen=True)
class Sent:
    """A message that would be put, or sent again."""

    type: str
    destination: str
    payload: str
    note: str = ""


@dataclass(frozen=True)
class Foreseen:
    """What would come of it now."""

    sentence: str
    from_state: str = ""
    to_state: str = ""
    sends: list[Sent] = field(default_factory=list)
    again: list[Sent] = field(default_factory=list)  # under the ids that they have
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Asked:
    """Who wants it, why, and what else was said."""

    by: str
    reason: str
    details: dict[str, Any] = field(default_factory=dict)


@contextmanager
def undone() -> Iterator[None]:
    """Whatever is written in here leaves no trace."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def step(saga: Saga, message: Message, envelope: Envelope | None = None) -> Foreseen:
    """The step that this message would cause now; none, with a note, where it would be ignored. Only the
    process's own steps are tried out: what a module does may reach further than a transaction."""
    outcome, letters = saga.preview(saga.pk, message, envelope)
    if outcome.status == Status.IGNORED:
        return Foreseen("", notes=[f"{type(message).__name__} would be ignored: {outcome.detail}"])
    return Foreseen(
        f"It goes from {in_plain(outcome.from_state)} to {in_plain(outcome.to_state)}.",
        outcome.from_state,
        outcome.to_state,
        [sent(letter) for letter in letters],
        notes=[outcome.detail] if outcome.detail else [],
    )


def again(saga: Saga, row: InboxMessage) -> Foreseen:
    """The step that a message would cause which failed at the process itself."""
    if row.error.startswith(WorkerDied.__name__):
        return Foreseen("", notes=[f"{row.type} has killed its worker, so it is not tried out here."])
    try:
        envelope, payload = unseal(row.message or {})
    except InvalidMessage as error:
        return Foreseen("", notes=[str(error)])
    return tried(saga, envelope, payload)


def tried(saga: Saga, envelope: Envelope, payload: object) -> Foreseen:
    """The step that this message would cause, whether it failed before or is put in the place of one."""
    try:
        return step(saga, messages.decode(envelope.type, payload), envelope)
    except Exception as error:  # noqa: BLE001  (whatever the step raises now, it would raise again)
        return Foreseen("", notes=[f"{envelope.type} would fail again: {type(error).__name__}: {error}"])


def sent(letter: Letter) -> Sent:
    """A message that would be put."""
    payload = msgspec.json.format(letter.payload, indent=2).decode()
    now = timezone.now()
    note = f"in {in_words(now, now + timedelta(seconds=letter.delay))}" if letter.delay else ""
    return Sent(letter.envelope.type, letter.envelope.destination, payload, note)


def resent(each: Outstanding) -> Sent:
    """A message that would be sent again."""
    note = f"{each.why}, {each.attempts} attempts: {each.error}" if each.error else str(each.why)
    return Sent(each.type, each.destination, "", note)
