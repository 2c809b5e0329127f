"""What the waiter did and asked, and his till: one row per deed, so that each can be counted."""

from django.db import models
from django.db.models import F
from django.db.models.functions import Now
from uuid_utils.compat import uuid7


class Deed(models.Model):
    """Something that was done at a table, once."""

    class Kind(models.TextChoices):
        MENU_SHOWN = "menu_shown"
        ORDER_TAKEN = "order_taken"
        PIZZAS_SERVED = "pizzas_served"
        CLIENT_THANKED = "client_thanked"
        CLIENT_LEFT = "client_left"
        CLIENT_APOLOGIZED = "client_apologized"

    kind = models.CharField(max_length=20, choices=Kind)
    table = models.CharField(max_length=20)
    visit = models.UUIDField(null=True, db_index=True)
    pizzas = models.PositiveIntegerField(default=0)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.table}: {self.get_kind_display()}"


class Question(models.Model):
    """A human guest was asked for an order. It waits here until some front end answers it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    table = models.CharField(max_length=20)
    visit = models.UUIDField(null=True, db_index=True)
    menu = models.JSONField()
    reply = models.JSONField(help_text="The envelope of what asked it: the answer goes back there.")
    asked_at = models.DateTimeField(db_default=Now())
    answered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.table}: {'answered' if self.answered_at else 'open'}"


class Bill(models.Model):
    """The bill of a visit: it has one."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    table = models.CharField(max_length=20)
    visit = models.UUIDField(null=True, unique=True)
    amounts = models.JSONField(help_text="A sum per currency, in minor units.")
    reply = models.JSONField(null=True, help_text="The envelope of what had it shown last.")
    shown_at = models.DateTimeField(db_default=Now())
    shown = models.PositiveIntegerField(default=1, help_text="How often it was brought.")
    asks = models.BooleanField(default=False, help_text="It waits for somebody who pays, or does not.")
    paid_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.table}: {self.amounts}"


class Payment(models.Model):
    """What a payment service told of a bill; its own id makes a repeated call harmless."""

    id = models.CharField(max_length=100, primary_key=True)
    bill = models.ForeignKey(Bill, models.PROTECT, related_name="payments")
    accepted = models.BooleanField()
    received_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-received_at"]

    def __str__(self) -> str:
        return f"{self.id}: {'accepted' if self.accepted else 'declined'}"


class Till(models.Model):
    """The money in the till, by currency, in minor units."""

    currency = models.CharField(max_length=3, primary_key=True)
    amount = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["currency"]
        verbose_name_plural = "till"

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"

    @classmethod
    def take_in(cls, amounts: dict[str, int]) -> None:
        """Add the sums of a bill, in the order of their currencies, so that two of them cannot deadlock."""
        for currency, amount in sorted(amounts.items()):
            if not cls.objects.filter(pk=currency).update(amount=F("amount") + amount):
                cls.objects.get_or_create(pk=currency)
                cls.objects.filter(pk=currency).update(amount=F("amount") + amount)
