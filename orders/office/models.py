"""What the office keeps: all processes in one list; who mended which of them, why, and what came of it."""

from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.db import models, transaction
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from orders.saga import Saga, scenarios

MOST_REPORTS = 20


class Process(models.Model):
    """A process of whatever scenario, as far as all have it in common: a row of a view over their tables
    (`orders.office.view`)."""

    id = models.UUIDField(primary_key=True)
    scenario = models.CharField(max_length=100)
    table = models.CharField(max_length=20)
    state = models.CharField(max_length=50)
    standing = models.CharField(max_length=50)
    version = models.PositiveIntegerField()
    stopped_in = models.CharField(max_length=50)
    deadline = models.UUIDField(null=True)
    deadline_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        managed = False
        db_table = "office_process"
        ordering = ["-id"]
        verbose_name = "process"
        verbose_name_plural = "processes"
        default_permissions = ("view",)
        permissions = [
            ("retry_process", "Can retry processes"),
            ("cancel_process", "Can cancel processes"),
            ("decide_process", "Can decide where a process needs the manager"),
            ("skip_process", "Can skip a step of a process"),
        ]

    def __str__(self) -> str:
        return f"{self.table} ({self.state})"

    @property
    def saga(self) -> Saga:
        """The process itself. Raises DoesNotExist of its scenario."""
        found: Saga = scenario_named(self.scenario)._default_manager.get(pk=self.pk)
        return found


def scenario_named(label: str) -> type[Saga]:
    """The scenario of this label. Raises KeyError."""
    return {scenario.label(): scenario for scenario in scenarios()}[label]


class Mending(models.Model):
    """One act of mending, of one process or of many: who, what, why, and how far it is."""

    class Action(models.TextChoices):
        RETRY = "retry", "retry"
        CANCEL = "cancel", "cancel"
        TRY_AGAIN = "try_again", "decide: try again"
        WRITE_OFF = "write_off", "decide: write off"
        SKIP = "skip", "skip a step"
        REDRIVE = "redrive", "send a dead message again"
        EDIT = "edit", "edit a dead message"
        DISCARD = "discard", "discard a dead message"

    class Status(models.TextChoices):
        DRAFT = "draft", "prepared, not begun"
        RUNNING = "running", "running"
        HALTED = "halted", "stopped by itself"
        STOPPED = "stopped", "stopped"
        FINISHED = "finished", "finished"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    action = models.CharField(max_length=20, choices=Action)
    status = models.CharField(max_length=20, choices=Status, default=Status.DRAFT)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    by = models.CharField(max_length=150)
    reason = models.CharField(max_length=500, blank=True)
    scope = models.TextField(blank=True, help_text="The filter or the selection, in words, as it was then.")
    details = models.JSONField(default=dict, blank=True, help_text="What else was asked for.")
    total = models.PositiveIntegerField(default=0)
    turn = models.PositiveIntegerField(default=0, help_text="How often it was begun or told to go on.")
    tolerated = models.PositiveIntegerField(
        default=0, help_text="How many had gone wrong when it was told to go on all the same."
    )
    created_at = models.DateTimeField(db_default=Now())
    begun_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    note = models.TextField(blank=True, help_text="Why it halted, or who stopped it.")

    class Meta:
        ordering: ClassVar[list[str]] = ["-id"]
        verbose_name = "mending"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.get_action_display()} by {self.by}"

    @property
    def is_told(self) -> bool:
        """Whether the processes themselves are told something, and decide by their own steps."""
        return self.action in TOLD

    @property
    def tone(self) -> str:
        """How it looks: good, bad, …"""
        return _TONES[self.status]


TOLD = (Mending.Action.CANCEL, Mending.Action.TRY_AGAIN, Mending.Action.WRITE_OFF, Mending.Action.SKIP)

_TONES: dict[str, str] = {  # of a mending, and of one process of it
    "draft": "calm",
    "running": "run",
    "halted": "bad",
    "stopped": "warn",
    "finished": "good",
    "waiting": "calm",
    "sent": "run",
    "done": "good",
    "recovered": "good",
    "failed": "bad",
    "refused": "warn",
    "unchanged": "warn",
}


class Mended(models.Model):
    """One process of a mending, or one dead message, and what came of it."""

    class Status(models.TextChoices):
        WAITING = "waiting", "not begun"
        SENT = "sent", "not handled yet"
        DONE = "done", "done"
        RECOVERED = "recovered", "recovered"
        FAILED = "failed", "failed again"
        REFUSED = "refused", "not done"
        UNCHANGED = "unchanged", "nothing has changed"

    mending = models.ForeignKey(Mending, models.CASCADE, related_name="processes")
    position = models.PositiveIntegerField()
    process_id = models.UUIDField(null=True, db_index=True)
    letter_id = models.BigIntegerField(
        null=True, help_text="The row of the dead message, where only that is mended."
    )
    table = models.CharField(max_length=20, blank=True)
    status = models.CharField(max_length=20, choices=Status, default=Status.WAITING)
    before = models.TextField(blank=True, help_text="What was wrong with it.")
    from_state = models.CharField(max_length=50, blank=True)
    to_state = models.CharField(max_length=50, blank=True)
    version = models.PositiveIntegerField(default=0, help_text="The steps it had made before.")
    watched = models.JSONField(default=dict, help_text="The messages sent, each with its attempts so far.")
    result = models.TextField(blank=True)
    begun_at = models.DateTimeField(null=True)
    settled_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar[list[str]] = ["position"]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["mending", "status", "position"], name="mended_next")
        ]

    def __str__(self) -> str:
        return f"{self.table or self.letter_id}: {self.result or self.get_status_display()}"

    @property
    def tone(self) -> str:
        """How it looks: good, bad, …"""
        return _TONES[self.status]

    @property
    def is_open(self) -> bool:
        """Whether it is not known yet what came of it."""
        return self.status in (self.Status.WAITING, self.Status.SENT)

    @property
    def watched_ids(self) -> dict[UUID, int]:
        """The messages sent, each with the attempts that it had before."""
        return {UUID(message_id): attempts for message_id, attempts in self.watched.items()}


class ExplorerReport(models.Model):
    """What the explorer went through and found, the last time that it was asked for this and told to keep it
    (`manage.py explore_saga --keep`)."""

    scenario = models.CharField(max_length=100)
    parameters = models.JSONField(help_text="The pizzas, the stock, and how often what may go wrong does.")
    complete = models.BooleanField(help_text="Whether it has looked at all that can be reached.")
    worlds = models.PositiveBigIntegerField(help_text="States of the whole house.")
    moves = models.PositiveBigIntegerField(help_text="From one of them to another.")
    handler_runs = models.PositiveBigIntegerField()
    saga_states = models.JSONField(help_text="Those that the process came to.")
    findings = models.JSONField(help_text="What is wrong, each with a shortest way there.")
    seconds = models.FloatField(help_text="How long it took.")
    made_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering: ClassVar[list[str]] = ["-id"]
        verbose_name = "report of the explorer"
        verbose_name_plural = "reports of the explorer"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.scenario}, explored"

    @classmethod
    @transaction.atomic
    def keep(cls, document: dict[str, Any], parameters: dict[str, int], seconds: float) -> "ExplorerReport":
        """Keep what `findings.document` tells, in the place of what was found with the same parameters
        before; of all reports only the newest are kept."""
        cls._default_manager.filter(scenario=document["scenario"], parameters=parameters).delete()
        told = {field.name: document[field.name] for field in cls._meta.fields if field.name in document}
        report = cls._default_manager.create(parameters=parameters, seconds=seconds, **told)
        newest = cls._default_manager.values_list("pk", flat=True)[:MOST_REPORTS]
        cls._default_manager.exclude(pk__in=list(newest)).delete()
        return report
