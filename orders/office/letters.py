"""What can be done to mend a single dead message: send it again as it is, or with another payload, or
discard it."""

from abc import ABC, abstractmethod
from typing import ClassVar

from orders.contracts import DeadlinePassed
from orders.office import foresight
from orders.office.foresight import Asked, Foreseen, Refused, Sent, Watched, undone
from orders.office.models import Mending
from orders.saga import Saga, find
from pizzahouse.messaging import dead_letters, outstanding, relay
from pizzahouse.messaging.envelope import unseal
from pizzahouse.messaging.errors import MessagingError
from pizzahouse.messaging.models import InboxMessage, OutboxMessage

Act = Mending.Action
NO_STEP = "What comes of it is seen when it has been handled."


class LetterAction(ABC):
    """One way to mend a dead message."""

    name: ClassVar[Act]
    label: ClassVar[str]
    explained: ClassVar[str]
    permission: ClassVar[str]

    @abstractmethod
    def foresee(self, row: InboxMessage, asked: Asked) -> Foreseen:
        """What would come of it. Raises Refused."""

    @abstractmethod
    def act(self, row: InboxMessage, asked: Asked) -> Watched:
        """Do it, in the caller's transaction. Raises Refused."""


class Redrive(LetterAction):
    name, label, permission = Act.REDRIVE, "Redrive", "office.retry_process"
    explained = "Sends the message again as it is, under the same id."

    def foresee(self, row: InboxMessage, asked: Asked) -> Foreseen:
        _check_sendable(row)
        saga = _addressee(row)
        told = foresight.again(saga, row) if saga else Foreseen("", notes=[NO_STEP])
        again = Sent(row.type, _address(row), "", f"{row.status}, {row.attempts} attempts: {row.error}")
        sentence = f"{row.type} is sent to {again.destination} again."
        return Foreseen(sentence, told.from_state, told.to_state, told.sends, [again], told.notes)

    def act(self, row: InboxMessage, asked: Asked) -> Watched:
        _check_sendable(row)
        outstanding.resend([row.message_id])
        return {row.message_id: row.attempts}


class Edit(LetterAction):
    name, label, permission = Act.EDIT, "Edit and send", "messaging.edit_inboxmessage"
    explained = "Sends it as a new message with another payload. The dead one is settled, and kept as it is."

    def foresee(self, row: InboxMessage, asked: Asked) -> Foreseen:
        with undone():
            [message_id] = self.act(row, asked)
            letter = relay.letter_of(OutboxMessage.objects.get(pk=message_id))
        saga = _addressee(row)
        payload = asked.details.get("payload")
        told = foresight.tried(saga, letter.envelope, payload) if saga else Foreseen("", notes=[NO_STEP])
        sends = [foresight.sent(letter), *told.sends]
        sentence = f"A new {row.type} goes to {letter.envelope.destination}; this one is settled, and kept."
        return Foreseen(sentence, told.from_state, told.to_state, sends, notes=told.notes)

    def act(self, row: InboxMessage, asked: Asked) -> Watched:
        if row.type == DeadlinePassed.__name__:
            raise Refused(
                "A process knows its deadline by its id, so another one is ignored. Redrive this one."
            )
        payload = asked.details.get("payload")
        try:
            return {dead_letters.replace(row, payload, by=asked.by, why=asked.reason): 0}
        except MessagingError as error:
            raise Refused(f"{error.__cause__ or error}. Correct the payload; nothing was changed.") from error


class Discard(LetterAction):
    name, label, permission = Act.DISCARD, "Discard", "messaging.edit_inboxmessage"
    explained = "Settles the message: it is never handled. What is known of it is kept."

    def foresee(self, row: InboxMessage, asked: Asked) -> Foreseen:
        with undone():
            self.act(row, asked)
        waits = "Its process goes on waiting for what this message would have brought." if row.saga_id else ""
        return Foreseen(f"{row.type} is never handled.", notes=[waits] if waits else [])

    def act(self, row: InboxMessage, asked: Asked) -> Watched:
        try:
            dead_letters.discard(row, by=asked.by, why=asked.reason)
        except MessagingError as error:
            raise Refused(str(error)) from error
        return {}


LETTER_ACTIONS: dict[str, LetterAction] = {each.name.value: each for each in (Redrive(), Edit(), Discard())}


def payload_of(row: InboxMessage) -> object:
    """Its payload in plain values; None where it cannot be read."""
    try:
        return unseal(row.message or {})[1]
    except MessagingError:
        return None


def _check_sendable(row: InboxMessage) -> None:
    if row.status not in row.TROUBLE:
        raise Refused(f"It was mended meanwhile: it is {row.get_status_display()}.")
    if not relay.is_kept_as_it_came(row):
        raise Refused("It has no envelope that can be read, so that it cannot be sent again. Discard it.")


def _address(row: InboxMessage) -> str:
    return row.handler.rpartition(".")[0]


def _addressee(row: InboxMessage) -> Saga | None:
    """The process that the message is addressed to; None where that is a module."""
    saga = find(row.saga_id) if row.saga_id else None
    return saga if saga and saga.address() == _address(row) else None
