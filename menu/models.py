"""The menu: items, and what each size of them costs."""

from django.core.validators import MinValueValidator, RegexValidator
from django.db import models


class MenuItem(models.Model):
    """A pizza on the menu."""

    code = models.CharField(max_length=20, primary_key=True, validators=[RegexValidator(r"^[a-z0-9]+\Z")])
    name = models.CharField(max_length=100)
    position = models.PositiveSmallIntegerField(default=0, help_text="Its place on the menu.")

    class Meta:
        ordering = ["position", "code"]

    def __str__(self) -> str:
        return self.name


class MenuPrice(models.Model):
    """A size of an item, and its price."""

    item = models.ForeignKey(MenuItem, models.CASCADE, related_name="prices")
    size = models.CharField(max_length=10, validators=[RegexValidator(r"^[a-z0-9]+\Z")])
    price = models.PositiveIntegerField(
        validators=[MinValueValidator(1)], help_text="In minor units: 1400 is 14.00."
    )
    currency = models.CharField(max_length=3, default="EUR", validators=[RegexValidator(r"^[A-Z]{3}\Z")])

    class Meta:
        ordering = ["item__position", "item", "price"]
        constraints = [models.UniqueConstraint(fields=["item", "size"], name="one_price_per_size")]

    def __str__(self) -> str:
        return f"{self.item_id} {self.size}"
