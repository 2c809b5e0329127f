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

    def mark(self, kitchen_order_id: UUID, *, was: "Status", now: "Status") -> bool:
        """Change one pizza from one status to another; False where it has another, or is not of these."""
        where = {"id": kitchen_order_id, "saga_id": self.saga.pk, "status": was}
        return bool(update(OrderedPizza, where, status=now))

    def recall(self) -> list["OrderedPizza"]:
        """Those that were ordered and are not settled become recalled; returns them."""
        recalled = list(self.filter(status__in=(Status.ORDERED, Status.DONE)))
        self.filter(pk__in=[pizza.pk for pizza in recalled]).update(status=Status.RECALLED)
        return recalled

    def done(self) -> "OrderedPizzas":
        """Those that are done, and will be served."""
        return self.filter(status=Status.DONE)

    def bill(self) -> dict[str, int]:
        """The sum per currency of what is done, in minor units."""
        done = self.done().values_list("currency")
        return dict(done.annotate(models.Sum("price")).order_by("currency"))


class OrderedPizza(models.Model):
    """One pizza. The kitchen knows it by the same id."""

    class Status(models.TextChoices):
        ORDERED = "ordered"
        DONE = "done"
        REFUSED = "refused"
        RECALLED = "recalled", "recalled, and the kitchen has not said yet what became of it"
        CANCELLED = "cancelled"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    saga = models.ForeignKey("orders.TableService", models.CASCADE, related_name="pizzas")
    code = models.CharField(max_length=20)
    size = models.CharField(max_length=20)
    price = models.PositiveIntegerField(help_text="In minor units: 1400 is 14.00.")
    currency = models.CharField(max_length=3)
    status = models.CharField(max_length=10, choices=Status, default=Status.ORDERED)

    objects = OrderedPizzas.as_manager()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.code} {self.size}"


Status = OrderedPizza.Status
