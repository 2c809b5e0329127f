"""What the waiter did: one row per deed, so that each can be counted."""

from django.db import models
from django.db.models.functions import Now


class Deed(models.Model):
    """Something that was done at a table, once."""

    class Kind(models.TextChoices):
        MENU_SHOWN = "menu_shown"
        ORDER_TAKEN = "order_taken"
        PIZZAS_SERVED = "pizzas_served"
        CLIENT_THANKED = "client_thanked"

    kind = models.CharField(max_length=20, choices=Kind)
    table = models.CharField(max_length=20)
    visit = models.UUIDField(null=True, db_index=True)
    pizzas = models.PositiveIntegerField(default=0)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.table}: {self.get_kind_display()}"


class Bill(models.Model):
    """A bill that was brought to a table."""

    table = models.CharField(max_length=20)
    visit = models.UUIDField(null=True, db_index=True)
    amounts = models.JSONField(help_text="A sum per currency, in minor units.")
    shown_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.table}: {self.amounts}"
