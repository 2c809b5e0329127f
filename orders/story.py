"""The story of a table, told from its messages as they are handled."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from pizzahouse.messaging.models import InboxMessage, OutboxMessage
from pizzahouse.money import decimal, in_words

Payload = dict[str, Any]


class Story:
    """Tells what is new of one saga each time it is asked. begins: the name of the command that starts it."""

    def __init__(self, saga_id: UUID, result: Console, notes: Console, begins: str) -> None:
        self.saga_id = saga_id
        self.begins = begins
        self.result = result
        self.told: set[int] = set()  # rows of the inbox
        self.lines: list[Payload] = []
        self.done = 0
        columns = (TextColumn("  the pizzas"), BarColumn(), MofNCompleteColumn())
        self.oven = Progress(*columns, console=notes, transient=True, disable=not notes.is_terminal)

    def __enter__(self) -> "Story":
        self.oven.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.oven.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The terminal is somebody else's for a while."""
        self.oven.stop()
        try:
            yield
        finally:
            self.oven.start()

    def go_on(self) -> bool:
        """Tell what was handled since the last time; True if anything was."""
        before = len(self.told)
        for name, payload in self._news():
            tell = self._begin if name == self.begins else getattr(self, f"_{name}", None)
            if tell is not None:
                tell(payload)
        return len(self.told) > before

    def _news(self) -> Iterator[tuple[str, Payload]]:
        done = InboxMessage.objects.filter(saga_id=self.saga_id, status=InboxMessage.Status.DONE)
        # Not "ids above the last": an id is not a commit order.
        new = sorted(set(done.values_list("id", flat=True)) - self.told)
        claims = done.filter(id__in=new).order_by("id")
        put = OutboxMessage.objects.in_bulk([claim.message_id for claim in claims])
        for claim in claims:
            self.told.add(claim.id)
            if claim.message_id in put:
                yield claim.type, put[claim.message_id].payload

    def _say(self, who: str, what: str) -> None:
        self.result.print(f"[bold]{who:<9}[/]{what}")

    # --- One method per message that is worth telling ---------------------------------------------

    def _begin(self, payload: Payload) -> None:
        self._say("guests", f"sit down at {escape(payload['table'])}")

    def _ShowMenu(self, payload: Payload) -> None:
        self._say("waiter", "brings the menu")
        table = Table("", "pizza", "size", "price", box=None, padding=(0, 2))
        for offer in payload["menu"]:
            names = (escape(offer[key]) for key in ("code", "name", "size"))
            price = "sold out" if offer.get("sold_out") else in_words(offer["price"], offer["currency"])
            table.add_row(*names, price)
        self.result.print(table)

    def _OrderPlaced(self, payload: Payload) -> None:
        self.lines = payload["lines"]
        wanted = (f"{each['quantity']} × {each['code']} {each['size']}" for each in self.lines)
        self._say("guests", f"order {escape(', '.join(wanted))}")
        self.done, total = 0, sum(each["quantity"] for each in self.lines)
        for round_before in self.oven.task_ids:
            self.oven.remove_task(round_before)
        self.oven.add_task("", total=total)

    def _DoPizza(self, payload: Payload) -> None:
        self._say("kitchen", escape(f"bakes {payload['code']} {payload['size']}"))

    def _PizzaDone(self, payload: Payload) -> None:
        self.done += 1
        total = sum(each["quantity"] for each in self.lines)
        if self.oven.tasks:
            self.oven.advance(self.oven.task_ids[0])
        self._say("kitchen", f"a pizza is done ({self.done} of {total})")

    def _PizzaRefused(self, payload: Payload) -> None:
        self._say("kitchen", escape(f"has no {payload['code']} to serve: {payload['reason']}"))

    def _CancelPizza(self, payload: Payload) -> None:
        self._say("kitchen", "is told to take a pizza back")

    def _PizzaCancelled(self, payload: Payload) -> None:
        self._say("kitchen", "throws a baked pizza away" if payload["discarded"] else "takes a pizza back")

    def _ServePizzas(self, payload: Payload) -> None:
        self._say("waiter", f"serves {payload['pizzas']} pizzas")

    def _ShowBill(self, payload: Payload) -> None:
        self._say("waiter", "brings the bill")
        table = Table("", "pizza", "each", "sum", box=None, padding=(0, 2))
        for line in self.lines:
            quantity, price, currency = line["quantity"], line["price"], line["currency"]
            name = escape(f"{line['code']} {line['size']}")
            table.add_row(
                f"{quantity} ×",
                name,
                decimal(price, currency),
                in_words(quantity * price, currency),
            )
        for currency, amount in payload["bill"].items():
            table.add_row("", "[bold]total[/]", "", f"[bold]{in_words(amount, currency)}[/]")
        self.result.print(table)

    def _PaymentDeclined(self, payload: Payload) -> None:
        self._say("guests", "cannot pay: the card is declined")

    def _BillPaid(self, payload: Payload) -> None:
        self._say("guests", "pay")

    def _ThankClient(self, payload: Payload) -> None:
        self._say("waiter", "thanks the guests and sees them to the door")

    def _ClientLeft(self, payload: Payload) -> None:
        self._say("guests", "leave")

    def _Apologize(self, payload: Payload) -> None:
        self._say("waiter", escape(f"apologizes: {payload['reason']}"))

    def _Cancel(self, payload: Payload) -> None:
        self._say("house", escape(f"is told by {payload['by']} to call it off: {payload['reason']}"))

    def _Decide(self, payload: Payload) -> None:
        self._say("manager", escape(f"{payload['by']} decides to {payload['decision']}: {payload['reason']}"))

    def _DeadlinePassed(self, payload: Payload) -> None:
        self._say("house", escape(f"has waited {payload['within']:g} s ({payload['state']}), and asks again"))
