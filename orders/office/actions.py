"""What can be done to mend a process: what would come of it is shown first, in a transaction that is undone;
then it is done, and tells which messages say what came of it."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal
from uuid import UUID

from orders.contracts import Cancel, DeadlinePassed, Decide
from orders.office import foresight
from orders.office.foresight import Asked, Foreseen, Refused, Watched, undone
from orders.office.models import Mending
from orders.office.words import in_plain, named
from orders.saga import Saga
from pizzahouse.messaging import dead_letters, messages, outbox, outstanding
from pizzahouse.messaging.errors import MessagingError
from pizzahouse.messaging.messages import Command, Event
from pizzahouse.messaging.models import InboxMessage
from pizzahouse.messaging.outstanding import Outstanding, Why

Act = Mending.Action


class Action(ABC):
    """One way to mend a process."""

    name: ClassVar[Act]
    label: ClassVar[str]
    explained: ClassVar[str]
    permission: ClassVar[str]
    bulk: ClassVar[bool] = True

    @abstractmethod
    def possible(self, saga: Saga, waiting: list[Outstanding]) -> bool:
        """Whether it is worth a button."""

    @abstractmethod
    def foresee(self, saga: Saga, asked: Asked) -> Foreseen:
        """What would come of it. Raises Refused."""

    @abstractmethod
    def act(self, saga: Saga, waiting: list[Outstanding], asked: Asked) -> Watched:
        """Do it, in the caller's transaction. Raises Refused."""


class Retry(Action):
    name, label, permission = Act.RETRY, "Retry", "office.retry_process"
    explained = "Sends again, under the same ids, what the process waits for and what is dead of it."

    def possible(self, saga: Saga, waiting: list[Outstanding]) -> bool:
        return any(each.why != Why.SCHEDULED for each in waiting)

    def foresee(self, saga: Saga, asked: Asked) -> Foreseen:
        again = _to_send(saga, saga.waits_for())
        here = [each for each in again if each.destination == saga.address() and each.error]
        failed = InboxMessage.objects.filter(message_id__in=[each.message_id for each in here])
        told = [foresight.again(saga, row) for row in failed.order_by("id")]
        step = next((each for each in told if each.to_state), None)
        notes = [note for each in told for note in each.notes]
        if len(again) > len(here):
            notes.append("What comes of a module's message is seen when the module has handled it.")
        count = "One message is" if len(again) == 1 else f"{len(again)} messages are"
        return Foreseen(
            f"{count} sent again: {named(again)}.",
            step.from_state if step else saga.state,
            step.to_state if step else "",
            [sent for each in told for sent in each.sends],
            [foresight.resent(each) for each in again],
            notes,
        )

    def act(self, saga: Saga, waiting: list[Outstanding], asked: Asked) -> Watched:
        _to_send(saga, waiting)
        return {each.message_id: each.attempts for each in outstanding.send_again(saga.pk)}


def _to_send(saga: Saga, waiting: list[Outstanding]) -> list[Outstanding]:
    again = [each for each in waiting if each.why != Why.SCHEDULED]
    if again:
        return again
    if waiting:
        raise Refused(f"There is nothing to send: it waits for {named(waiting)}.")
    if saga.outcome:
        raise Refused(f"There is nothing to send: it is {in_plain(saga.state)}.")
    raise Refused("There is nothing to send: all its messages were handled.")


# --- What the process is told ---------------------------------------------------------------------


class Told(Action):
    """The process is told something, and decides by its own steps."""

    refusal: ClassVar[str]

    @abstractmethod
    def message(self, asked: Asked) -> Command:
        """What it is told."""

    def possible(self, saga: Saga, waiting: list[Outstanding]) -> bool:
        contract = type(self.message(Asked("somebody", "a reason")))
        return (contract, saga.state) in saga.steps()

    def foresee(self, saga: Saga, asked: Asked) -> Foreseen:
        told = self.message(asked)
        try:
            messages.encode(told)
        except MessagingError as error:
            raise Refused(str(error)) from error
        foreseen = foresight.step(saga, told)
        if not foreseen.to_state:
            raise Refused(f"It is {in_plain(saga.state)}: {self.refusal}")
        return foreseen

    def act(self, saga: Saga, waiting: list[Outstanding], asked: Asked) -> Watched:
        if not self.possible(saga, waiting):
            raise Refused(f"It is {in_plain(saga.state)}: {self.refusal}")
        try:
            return {outbox.put(self.message(asked), to=saga.address(), saga=saga.pk): 0}
        except MessagingError as error:
            raise Refused(str(error)) from error


class CancelProcess(Told):
    name, label, permission = Act.CANCEL, "Cancel", "office.cancel_process"
    explained = "Calls the process off, and undoes what it has done so far."
    refusal = "it can be cancelled only as long as nothing was served."

    def message(self, asked: Asked) -> Command:
        return Cancel(by=asked.by, reason=asked.reason)


class Decided(Told):
    """What the manager has decided, where the process needs one."""

    permission = "office.decide_process"
    refusal = "it does not wait for the manager."
    decision: ClassVar[Literal["retry", "write off"]]

    def message(self, asked: Asked) -> Command:
        return Decide(decision=self.decision, by=asked.by, reason=asked.reason)


class TryAgain(Decided):
    name, label, decision = Act.TRY_AGAIN, "Decide: try again", "retry"
    explained = "The manager decides: what the process waited for is tried once more."


class WriteOff(Decided):
    name, label, decision = Act.WRITE_OFF, "Decide: write off", "write off"
    explained = "The manager decides: the process goes on without what it did not get."


# --- Skipping a step ------------------------------------------------------------------------------


class Skip(Action):
    name, label, permission = Act.SKIP, "Skip a step", "office.skip_process"
    explained = (
        "Takes back a command that nobody has handled, and goes on as if it had been answered. The module"
        " has not done it: do it by hand, or do without."
    )
    bulk = False

    def possible(self, saga: Saga, waiting: list[Outstanding]) -> bool:
        return bool(skippable(saga, waiting)) and bool(stand_ins(saga))

    def foresee(self, saga: Saga, asked: Asked) -> Foreseen:
        with undone():
            event = self._event(saga, asked)
            self._skip(asked, event)
            foreseen = foresight.step(saga, event)
        if not foreseen.to_state:
            raise Refused("; ".join(foreseen.notes))
        return foreseen

    def act(self, saga: Saga, waiting: list[Outstanding], asked: Asked) -> Watched:
        return {self._skip(asked, self._event(saga, asked)): 0}

    def _event(self, saga: Saga, asked: Asked) -> Event:
        name, payload = asked.details.get("event", ""), asked.details.get("payload")
        if name not in {each.__name__ for each in stand_ins(saga)}:
            raise Refused(f"It takes no {name or 'event'} while it is {in_plain(saga.state)}.")
        try:
            event = dead_letters.checked(name, payload)
            messages.encode(event)
        except MessagingError as error:
            raise Refused(f"{error}. Correct the values.") from error
        assert isinstance(event, Event)
        return event

    def _skip(self, asked: Asked, event: Event) -> UUID:
        try:
            message_id = UUID(str(asked.details.get("message")))
            return dead_letters.skip(message_id, event, by=asked.by, why=asked.reason)
        except (ValueError, MessagingError) as error:
            raise Refused(str(error)) from error


def skippable(saga: Saga, waiting: list[Outstanding]) -> list[Outstanding]:
    """The commands that it waits for."""
    return [
        each
        for each in waiting
        if each.why != Why.SCHEDULED
        and each.destination != saga.address()
        and messages.kind(each.type) == "command"
    ]


def stand_ins(saga: Saga) -> list[type[Event]]:
    """The events that it takes in its state, from a module."""
    return [
        on
        for (on, state) in saga.steps()
        if state == saga.state and issubclass(on, Event) and on is not DeadlinePassed
    ]


ACTIONS: dict[str, Action] = {
    each.name.value: each for each in (Retry(), CancelProcess(), TryAgain(), WriteOff(), Skip())
}
