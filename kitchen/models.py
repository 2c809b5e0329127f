"""What the kitchen bakes: one row per pizza."""

from django.db import models
from django.db.models.functions import Now


class KitchenOrder(models.Model):
    """One pizza."""

    id = models.UUIDField(primary_key=True)
    visit = models.UUIDField(null=True, help_text="The table's visit it belongs to.")
    code = models.CharField(max_length=20)
    size = models.CharField(max_length=20)
    taken_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.code} {self.size}"
