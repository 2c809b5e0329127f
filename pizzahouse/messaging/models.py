"""What is kept of messages: the outbox (what was put), the inbox (what was handled, and how it went)."""

from django.db import models
from django.db.models.functions import Now
from uuid_utils.compat import uuid7


class OutboxMessage(models.Model):
    """A message that was put. It stays as the history of its saga."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    type = models.CharField(max_length=100)
    destination = models.CharField(max_length=100)
    reply_to = models.CharField(max_length=100, blank=True)
    saga_id = models.UUIDField(null=True, blank=True, db_index=True)
    causation_id = models.UUIDField(null=True, blank=True)
    trace = models.CharField(max_length=55, blank=True)
    payload = models.JSONField()
    created_at = models.DateTimeField(db_default=Now())
    due_at = models.DateTimeField(
        null=True, blank=True, help_text="Not to be sent before (a pause, a timer)."
    )
    available_at = models.DateTimeField(
        null=True,
        blank=True,
        db_default=Now(),
        help_text="From then on any relay may look at it: to send it (its due time, or the end of a lease),"
        " or to see whether what was sent was handled. Empty: there is nothing left to do.",
    )
    sent_at = models.DateTimeField(null=True, blank=True, help_text="When the broker confirmed it.")
    sends = models.PositiveIntegerField(db_default=0, help_text="How often it was confirmed.")

    class Meta:
        ordering = ["-id"]
        verbose_name = "outbox message"
        indexes = [
            models.Index(
                fields=["available_at"],
                name="outbox_pending",
                condition=models.Q(sent_at__isnull=True),
            ),
            models.Index(
                fields=["available_at"],
                name="outbox_unsettled",
                condition=models.Q(sent_at__isnull=False, available_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} to {self.destination}"


class InboxMessages(models.QuerySet["InboxMessage"]):
    """What can be asked of the inbox."""

    def in_trouble(self) -> "InboxMessages":
        """Those that failed, or are dead."""
        # At no attempt yet, a worker has just begun with it (see `failures.begin`).
        return self.filter(status__in=InboxMessage.TROUBLE, attempts__gt=0)


class InboxMessage(models.Model):
    """One message at one handler: claimed once, with what came of it."""

    class Status(models.TextChoices):
        DONE = "done"
        IGNORED = "ignored"
        FAILED = "failed", "failed, will be tried again"
        DEAD = "dead", "dead, waits for a human"

    TROUBLE = (Status.FAILED, Status.DEAD)

    message_id = models.UUIDField()
    handler = models.CharField(max_length=200)
    type = models.CharField(max_length=100)
    saga_id = models.UUIDField(null=True, blank=True, db_index=True)
    status = models.CharField(max_length=10, choices=Status)
    handled_at = models.DateTimeField(db_default=Now())
    attempts = models.PositiveIntegerField(db_default=1)
    repeats = models.PositiveIntegerField(
        db_default=0, help_text="How often it was delivered again after it had been handled."
    )
    step = models.CharField(max_length=100, db_default="", blank=True)
    from_state = models.CharField(max_length=50, db_default="", blank=True)
    to_state = models.CharField(max_length=50, db_default="", blank=True)
    detail = models.TextField(
        db_default="", blank=True, help_text="Why it was ignored, or who decided the step, and why."
    )
    error = models.TextField(db_default="", blank=True)
    traceback = models.TextField(db_default="", blank=True)
    failures = models.JSONField(
        null=True, blank=True, help_text="Each failed attempt: at, error, next_attempt_at."
    )
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(
        null=True, blank=True, help_text="A worker began with it then, and has not come to an end."
    )
    message = models.JSONField(
        null=True, blank=True, help_text="The message as it arrived, kept when handling it failed."
    )

    objects = InboxMessages.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name = "inbox message"
        permissions = [("edit_inboxmessage", "Can edit or discard a dead message")]
        constraints = [models.UniqueConstraint(fields=["message_id", "handler"], name="inbox_claim")]
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                name="inbox_failed",
                condition=models.Q(status="failed"),
            ),
            # With all that is asked of trouble: the rows themselves, far apart, need not be read.
            models.Index(
                fields=["saga_id", "status", "attempts"],
                name="inbox_trouble",
                condition=models.Q(status__in=["failed", "dead"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} at {self.handler}: {self.status}"

    @property
    def is_in_trouble(self) -> bool:
        """Whether it failed, or is dead."""
        return self.status in self.TROUBLE and self.attempts > 0
