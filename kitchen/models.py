"""What the kitchen bakes: one row per pizza; and what it has to bake with."""

from django.db import models
from django.db.models.functions import Now


class KitchenOrder(models.Model):
    """One pizza."""

    class Status(models.TextChoices):
        TAKEN = "taken", "taken: in the oven, or out of it"
        REFUSED = "refused", "refused: there was nothing to bake it with"
        BURNED = "burned"
        CANCELLED = "cancelled", "cancelled before it was baked"
        DISCARDED = "discarded", "baked and thrown away"

    id = models.UUIDField(primary_key=True)
    visit = models.UUIDField(null=True, db_index=True, help_text="The table's visit it belongs to.")
    code = models.CharField(max_length=20, help_text="Empty where it was cancelled before it was ordered.")
    size = models.CharField(max_length=20)
    status = models.CharField(max_length=10, choices=Status, default=Status.TAKEN)
    taken_at = models.DateTimeField(db_default=Now())
    done_message = models.UUIDField(
        null=True, help_text="The message that it is done: while that waits, the pizza is in the oven."
    )

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.code} {self.size}"


class Stock(models.Model):
    """How many pizzas of an item can still be baked. An item without a row never runs out."""

    code = models.CharField(max_length=20, primary_key=True)
    left = models.PositiveIntegerField(help_text="The database refuses less than none.")

    class Meta:
        ordering = ["code"]
        verbose_name_plural = "stock"

    def __str__(self) -> str:
        return f"{self.left} x {self.code}"
