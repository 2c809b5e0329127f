"""The saga: a long-running process as a row in the database and a finite state machine.

Pattern: *Process Manager* (Hohpe and Woolf), *Saga* (Garcia-Molina and Salem, 1987). A scenario is a
concrete model in a file of its own; its steps (`orders.steps`) stand in the order of the story.
"""

import re
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any, ClassVar, Self
from uuid import UUID

from django.apps import apps
from django.conf import settings
from django.db import models, transaction
from django.utils import timezone
from django_fsm import FSMField
from uuid_utils.compat import uuid7

from orders.contracts import DeadlinePassed
from orders.steps import NEW, Table, table_of
from pizzahouse.messaging import outbox, outstanding
from pizzahouse.messaging.envelope import Envelope, Letter
from pizzahouse.messaging.errors import MessagingError
from pizzahouse.messaging.inbox import Outcome, Status
from pizzahouse.messaging.messages import Command, Event, Message
from pizzahouse.messaging.rows import lock

COMPLETED = "completed"
RUNNING, OVERDUE, STOPPED = "running", "overdue", "stopped"  # how it stands, until it has an outcome
LONGEST_PAUSE = 86_400.0  # seconds until a saga that keeps asking asks once more


class Ignored(Exception):
    """Raised by a step, before it does anything: this message changes nothing here. It is recorded as
    ignored, with this reason."""


class UnknownSaga(MessagingError):
    """A message came for a process that does not exist. Look up its saga id. If the process was
    deleted, the message is dead for good, and does no harm."""


class Saga(models.Model):
    """What every scenario has. `outcomes` names its final states and what each means; `for_humans` the
    states that wait for a human, and have no deadline; `for_guests` those that wait for a guest."""

    outcomes: ClassVar[dict[str, str]] = {}
    for_humans: ClassVar[frozenset[str]] = frozenset()
    for_guests: ClassVar[frozenset[str]] = frozenset()

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    table = models.CharField(max_length=20)
    # No index on what every step changes: the update then touches no index at all (PostgreSQL's HOT).
    state = FSMField(default=NEW, protected=True)
    standing = models.CharField(
        max_length=50, default=RUNNING, help_text="Running, overdue, stopped for a human, or its outcome."
    )
    version = models.PositiveIntegerField(default=0, help_text="How many steps it has made.")
    undo = models.JSONField(default=list, blank=True, help_text="What would undo the steps made so far.")
    stopped_in = models.CharField(max_length=50, blank=True, help_text="Where a human was called.")
    deadline = models.UUIDField(null=True, blank=True, help_text="The message that its time is up.")
    deadline_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True
        ordering: ClassVar[list[str]] = ["-id"]
        indexes: ClassVar[list[models.Index]] = [
            # Found also by what a table's name begins with.
            models.Index(fields=["table"], name="%(class)s_table", opclasses=["varchar_pattern_ops"]),
            models.Index(
                fields=["started_at"], name="%(class)s_running", condition=models.Q(finished_at=None)
            ),
            models.Index(
                fields=["finished_at"],
                name="%(class)s_finished",
                condition=models.Q(finished_at__isnull=False),
            ),
            # It changes once or twice in a process's life, so what every step changes stays unindexed.
            models.Index(fields=["standing", "id"], name="%(class)s_standing"),
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

    def note(self, text: str) -> None:
        """Keep a remark with this step in the saga's history."""
        self.__dict__.setdefault("_notes", []).append(text)

    def withdraw(self, *commands: type[Command], why: str = "it was called off") -> bool:
        """Take back these commands where nobody has begun with them: they will never have any effect.
        Tells whether there were any."""
        back = outstanding.withdraw(self.pk, *commands, why=why)
        self._note_messages("withdrawn", back)
        return bool(back)

    def ask_again(self, *, dead: bool = False) -> None:
        """Send again, under the same ids, what was not handled yet; dead: also what waits for a human."""
        again = outstanding.send_again(self.pk, dead=dead)
        self._note_messages("sent again", again)
        if not again:
            self.note("nothing to send again: everything was handled")

    def compensate(self) -> None:
        """Undo the steps that were made and not undone yet, the last one first."""
        while self.undo:
            getattr(self, self.undo.pop())()

    def _note_messages(self, what: str, messages: list[outstanding.Outstanding]) -> None:
        counted = Counter(each.type for each in messages)
        named = (f"{count} x {name}" if count > 1 else name for name, count in counted.items())
        if counted:
            self.note(f"{what}: {', '.join(named)}")

    # --- What happens to a message ----------------------------------------------------------------

    @classmethod
    def receive(cls, message: Message) -> Outcome:
        """Lock the saga, run the step that this message causes in its state, and say what became of it.
        A message that causes none is late or doubled: it is ignored, with the reason."""
        saga = cls._locked(type(message))
        before = saga.state
        try:
            made = saga._on_deadline(message) if isinstance(message, DeadlinePassed) else saga._step(message)
        except Ignored as reason:
            return Outcome(Status.IGNORED, from_state=before, to_state=before, detail=str(reason))
        notes = "; ".join(saga.__dict__.get("_notes", ()))
        outcome = Outcome(step=made, from_state=before, to_state=saga.state, detail=notes)
        if before == NEW:
            outbox.record(saga)
            return outcome
        return replace(outcome, row=saga)

    def _step(self, message: Message) -> str:
        step = self.steps().get((type(message), self.state))
        if step is None:
            raise Ignored(f"nothing to do on {type(message).__name__} in state {self.state}")
        before = self.state
        if before in self.for_humans and isinstance(message, Event):
            self._check_in_time_before(step.method, message)
        getattr(self, step.method)(message)
        self.version += 1
        if step.compensation:
            self.undo.append(step.compensation)
        if self.state in self.for_humans:
            self.stopped_in = before
        if self.outcome:
            self.finished_at = timezone.now()
        self.standing = self.outcome or (STOPPED if self.state in self.for_humans else RUNNING)
        if self.state != before or not self._has_time(step.within):
            self._set_deadline(step.within)
        return step.method

    def _check_in_time_before(self, method: str, event: Event) -> None:
        """An answer that comes after a human was called is as good as one in time, but only where it was
        waited for."""
        there = self.steps().get((type(event), self.stopped_in))
        if there is None or there.method != method:
            raise Ignored(f"a human was called in state {self.stopped_in}, which does not wait for this")

    def _has_time(self, within: timedelta | None) -> bool:
        """Whether half of it is left at least: a step that stays in its state then leaves its deadline as
        it is. A state of many steps, such as a pizza each, need not set one with each."""
        if within is None or self.deadline_at is None:
            return False
        return self.deadline_at - timezone.now() > within * float(settings.PIZZAHOUSE_PATIENCE) / 2

    def _on_deadline(self, event: DeadlinePassed) -> str:
        """The first time, and where no step is to be taken, it asks again, after ever longer pauses."""
        envelope = outbox.current_envelope()
        if envelope is None or envelope.message_id != self.deadline:
            raise Ignored(f"it went on before this deadline passed, and is {self.state}")
        if event.asked and (DeadlinePassed, self.state) in self.steps():
            return self._step(event)
        self.ask_again()
        self.standing = OVERDUE
        pause = max(event.within, min(event.within * 2.0 ** min(event.asked, 30), LONGEST_PAUSE))
        self._put_deadline(DeadlinePassed(self.state, event.within, event.asked + 1), pause)
        return "ask_again"

    def _set_deadline(self, within: timedelta | None) -> None:
        """Take back the deadline of the state that was left, and set the one of the state entered."""
        if self.deadline is not None:
            outbox.forget(self.deadline)
            self.deadline = self.deadline_at = None
        if within is not None and self.state not in {*self.outcomes, *self.for_humans}:
            seconds = within.total_seconds() * float(settings.PIZZAHOUSE_PATIENCE)
            self._put_deadline(DeadlinePassed(self.state, seconds), seconds)

    def _put_deadline(self, event: DeadlinePassed, pause: float) -> None:
        self.deadline = outbox.put(event, saga=self.pk, to=self.address(), delay=pause)
        self.deadline_at = timezone.now() + timedelta(seconds=pause)

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

    @classmethod
    def preview(
        cls, saga_id: UUID, message: Message, envelope: Envelope | None = None
    ) -> tuple[Outcome, list[Letter]]:
        """What would come of this message now, and which messages would be put: everything is undone.
        envelope: the one it came in, where it came before."""
        new = Envelope(uuid7(), type(message).__name__, cls.address(), saga=saga_id)
        with transaction.atomic(), outbox.collecting(envelope or new) as work:
            outcome = cls.receive(message)
            transaction.set_rollback(True)
        return outcome, work.letters

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
    def start_contract(cls) -> type[Message]:
        """The command that starts it."""
        return next(on for on, state in cls.steps() if state == NEW)

    @classmethod
    @cache
    def steps(cls) -> Table:
        """Its table: the step for each message in each state."""
        return table_of(cls)

    def figures(self) -> dict[str, Any]:
        """What a scenario wants told of a saga besides, in plain values."""
        return {}

    @property
    def because(self) -> str:
        """Why it has ended, or needs a human, where a scenario tells it: "the guests left"."""
        return ""

    def waits_for(self) -> list[outstanding.Outstanding]:
        """What was put and not handled yet, but for its own deadline."""
        return [each for each in outstanding.of(self.pk) if each.message_id != self.deadline]

    @property
    def outcome(self) -> str | None:
        """What it came to: "completed", …; None while it runs."""
        return self.outcomes.get(self.state)


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
