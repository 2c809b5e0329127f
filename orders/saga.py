"""The saga: a long-running process as a row in the database and a finite state machine.

Pattern: *Process Manager* (Hohpe and Woolf), *Saga* (Garcia-Molina and Salem, 1987). A scenario is a
concrete model in a file of its own; its steps are django-fsm transitions, in the order of the story.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar, NamedTuple, Self
from uuid import UUID

from django.apps import apps
from django.db import models
from django.utils import timezone
from django_fsm import FSMField, transition
from uuid_utils.compat import uuid7

from pizzahouse.messaging import outbox
from pizzahouse.messaging.errors import MessagingError
from pizzahouse.messaging.inbox import Outcome, Status
from pizzahouse.messaging.messages import Command, Event, Message
from pizzahouse.messaging.rows import lock

NEW = "new"
COMPLETED = "completed"


class Ignored(Exception):
    """Raised by a step, before it does anything: this message changes nothing here. It is recorded as
    ignored, with this reason."""


class UnknownSaga(MessagingError):
    """A message came for a process that does not exist. Look up its saga id; if the process was deleted,
    the message can be deleted too."""


def step(*, on: type[Message], source: str, target: Any) -> Callable[[Any], Any]:
    """Make a method of a saga the step that this message causes in this state.

    It is a django-fsm transition of the field `state`; the method gets the message and sends commands.
    target: the next state, or `RETURN_VALUE(...)` where the method decides it.
    """
    return transition(field="state", source=source, target=target, custom={"on": on})


class Step(NamedTuple):
    """One row of a scenario's table."""

    on: type[Message]
    source: str
    targets: tuple[str, ...]
    method: str


class Saga(models.Model):
    """What every scenario has. `outcomes` names its final states and what each means."""

    outcomes: ClassVar[dict[str, str]] = {}

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    table = models.CharField(max_length=20)
    # No index on what every step changes: the update then touches no index at all (PostgreSQL's HOT).
    state = FSMField(default=NEW, protected=True)
    version = models.PositiveIntegerField(default=0, help_text="How many steps it has made.")
    started_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True
        ordering: ClassVar[list[str]] = ["-id"]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["table"], name="%(class)s_table"),
            models.Index(
                fields=["started_at"], name="%(class)s_running", condition=models.Q(finished_at=None)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.table} ({self.state})"

    @classmethod
    def begin(cls, command: Command) -> UUID:
        """Start a saga: put the command that its first step waits for, in the caller's transaction.
        Returns the saga's id; its row is there once the command was handled."""
        saga_id = uuid7()
        outbox.put(command, to=cls.address(), saga=saga_id)
        return saga_id

    # --- What a step uses -------------------------------------------------------------------------

    def send(self, command: Command) -> None:
        """Ask a module; what it answers comes back to this saga."""
        outbox.put(command, saga=self.pk, reply_to=self.address())

    def tell_self(self, event: Event) -> None:
        """Go on with the next step in a transaction of its own."""
        outbox.put(event, saga=self.pk, to=self.address())

    # --- What happens to a message ----------------------------------------------------------------

    @classmethod
    def receive(cls, message: Message) -> Outcome:
        """Lock the saga, run the step that this message causes in its state, and say what became of it.
        A message that causes none is late or doubled: it is ignored, with the reason."""
        saga = cls._locked(type(message))
        before = saga.state
        found = cls.steps().get((type(message), before))
        try:
            if found is None:
                raise Ignored(f"nothing to do on {type(message).__name__} in state {before}")
            getattr(saga, found.method)(message)
        except Ignored as reason:
            return Outcome(Status.IGNORED, from_state=before, to_state=before, detail=str(reason))
        saga.version += 1
        if saga.state in cls.outcomes:
            saga.finished_at = timezone.now()
        outcome = Outcome(step=found.method, from_state=before, to_state=saga.state)
        if before == NEW:
            outbox.record(saga)
            return outcome
        return replace(outcome, row=saga)

    @classmethod
    def _locked(cls, message_type: type[Message]) -> Self:
        envelope = outbox.current_envelope()
        saga_id = envelope.saga if envelope else None
        if saga_id is None:
            raise UnknownSaga(f"{message_type.__name__} names none")
        saga = lock(cls, saga_id)
        if saga is None:
            if (message_type, NEW) not in cls.steps():
                raise UnknownSaga(f"{cls.__name__} {saga_id}")
            saga = cls(id=saga_id)
        return saga

    # --- What is known of a scenario --------------------------------------------------------------

    @classmethod
    def label(cls) -> str:
        """The scenario's name: "table_service"."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    @classmethod
    def address(cls) -> str:
        """Where its messages go: "orders.table_service"."""
        return f"{cls._meta.app_label}.{cls.label()}"

    @classmethod
    @cache
    def steps(cls) -> dict[tuple[type[Message], str], Step]:
        """Its table: the step for each message in each state."""
        table: dict[tuple[type[Message], str], Step] = {}
        for each in _transitions(cls):
            key = each.custom["on"], each.source
            if key in table:
                raise TypeError(f"two steps on {key[0].__name__} in state {key[1]}")
            targets = getattr(each.target, "allowed_states", None) or (each.target,)
            table[key] = Step(*key, tuple(targets), each.name)
        return table

    @property
    def outcome(self) -> str | None:
        """What it came to: "completed", …; None while it runs."""
        return self.outcomes.get(self.state)


def _transitions(scenario: type[Saga]) -> Iterator[Any]:
    """Its transitions in the order of the file: the order of the story."""
    field: Any = scenario._meta.get_field("state")
    found = list(field.get_all_transitions(scenario))
    return iter(sorted(found, key=lambda each: each.method.__code__.co_firstlineno))


def scenarios() -> list[type[Saga]]:
    """All scenarios that are installed."""
    return [model for model in apps.get_models() if issubclass(model, Saga)]


def find(saga_id: UUID) -> Saga | None:
    """The saga of this id, of whatever scenario."""
    for scenario in scenarios():
        saga = scenario._default_manager.filter(pk=saga_id).first()
        if saga is not None:
            return saga
    return None
