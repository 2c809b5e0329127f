"""The pizzas of a table service: one row each, so that one event costs the same in an order of any size."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import models
from uuid_utils.compat import uuid7

from pizzahouse.messaging.outbox import record
from pizzahouse.messaging.rows import update
from waiter.contracts import OrderLine

if TYPE_CHECKING:
    from orders.table_service import TableService


class OrderedPizzas(models.QuerySet["OrderedPizza"]):
    """What a saga asks of its pizzas: `saga.pizzas`."""

    @property
    def saga(self) -> "TableService":
        """Whose pizzas these are."""
        hints: dict[str, Any] = getattr(self, "_hints")  # noqa: B009  (where Django keeps it)
        saga: TableService = hints["instance"]
        return saga

    def order(self, lines: tuple[OrderLine, ...]) -> list["OrderedPizza"]:
        """One row for each single pizza of these lines."""
        saga = self.saga
        pizzas = [
            OrderedPizza(saga=saga, code=line.code, size=line.size, price=line.price, currency=line.currency)
            for line in lines
            for _ in range(line.quantity)
        ]
        record(*pizzas)
        return pizzas

    def mark_done(self, kitchen_order_id: UUID) -> int:
        """How many became done by this: 1, or 0 where it was already (or is not one of these)."""
        where = {"id": kitchen_order_id, "saga_id": self.saga.pk, "done": False}
        return update(OrderedPizza, where, done=True)

    def bill(self) -> dict[str, int]:
        """The sum per currency, in minor units."""
        return dict(self.values_list("currency").annotate(models.Sum("price")).order_by("currency"))


class OrderedPizza(models.Model):
    """One pizza. The kitchen knows it by the same id."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    saga = models.ForeignKey("orders.TableService", models.CASCADE, related_name="pizzas")
    code = models.CharField(max_length=20)
    size = models.CharField(max_length=20)
    price = models.PositiveIntegerField(help_text="In minor units: 1400 is 14.00.")
    currency = models.CharField(max_length=3)
    done = models.BooleanField(default=False)

    objects = OrderedPizzas.as_manager()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.code} {self.size}"
