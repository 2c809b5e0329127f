"""What must hold in every state of the house. Modules are known here by the names of their tables alone."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from orders.explorer.rows import Row
from orders.saga import Saga


@dataclass(frozen=True)
class View:
    """The house in one state."""

    tables: dict[str, list[Row]]
    scenario: type[Saga]
    under_way: tuple[str, ...]  # types of messages that were put and not handled
    to_modules: int  # how many of those go to a module
    in_the_oven: frozenset[str] = field(default=frozenset())  # ids of messages that wait for their time
    stock: int = 0  # of each item, in the beginning

    def rows(self, label: str) -> list[Row]:
        """The rows of a table, "kitchen.Stock"."""
        return self.tables.get(label, [])

    @property
    def saga(self) -> Row | None:
        """The saga's row, once it has begun."""
        found = self.rows(self.scenario._meta.label)
        return found[0] if found else None

    @property
    def is_over(self) -> bool:
        """Whether the saga has ended and no module has anything to do for it any more."""
        return bool(self.saga) and self.state in self.scenario.outcomes and not self.to_modules

    @property
    def state(self) -> str:
        """The saga's state."""
        return str(self.saga["state"]) if self.saga else "new"

    def deeds(self, kind: str) -> list[Row]:
        """What the waiter did."""
        return [row for row in self.rows("waiter.Deed") if row["kind"] == kind]


def nothing_is_done_twice(house: View) -> Iterator[str]:
    """Served, thanked, apologized to, and billed: once at the most."""
    for kind in ("pizzas_served", "client_thanked", "client_apologized", "client_left"):
        if (times := len(house.deeds(kind))) > 1:
            yield f"{kind} {times} times"
    if (bills := len(house.rows("waiter.Bill"))) > 1:
        yield f"{bills} bills for one visit"


def the_till_is_the_sum_of_the_paid_bills(house: View) -> Iterator[str]:
    """No money from nowhere, and none lost."""
    paid: Counter[str] = Counter()
    for bill in house.rows("waiter.Bill"):
        if bill["paid_at"] is not None:
            paid.update(json.loads(bill["amounts"]))
    till = Counter({row["currency"]: row["amount"] for row in house.rows("waiter.Till")})
    if +till != +paid:
        yield f"the till holds {dict(till)}, the paid bills are {dict(paid)}"


def no_pizza_is_lost(house: View) -> Iterator[str]:
    """Stock left, pizzas served and pizzas discarded are the stock in the beginning."""
    if not house.is_over:
        return
    orders = house.rows("kitchen.KitchenOrder")
    discarded = sum(row["status"] in ("discarded", "burned") for row in orders)
    served = sum(row["pizzas"] for row in house.deeds("pizzas_served"))
    stock = house.rows("kitchen.Stock")
    left = sum(row["left"] for row in stock)
    if left + served + discarded != house.stock * len(stock):
        yield f"{left} left + {served} served + {discarded} discarded are not {house.stock * len(stock)}"


def nothing_is_served_that_is_not_baked(house: View) -> Iterator[str]:
    """What the saga has served is out of the oven, and is nobody else's."""
    baked = {
        row["id"]
        for row in house.rows("kitchen.KitchenOrder")
        if row["status"] == "taken" and row["done_message"] not in house.in_the_oven
    }
    if any(type_ == "ServePizzas" for type_ in house.under_way) or house.deeds("pizzas_served"):
        for row in house.rows("orders.OrderedPizza"):
            unbaked = row["status"] == "done" and row["id"] not in baked
            if row["status"] in ("ordered", "recalled") or unbaked:
                yield f"a pizza is served that is {row['status']}, and not baked"


def nothing_is_baked_for_nobody(house: View) -> Iterator[str]:
    """A pizza that the kitchen has taken back is not in the oven, nor is one when all is over."""
    settled = {row["id"] for row in house.rows("orders.OrderedPizza") if row["status"] == "cancelled"}
    for row in house.rows("kitchen.KitchenOrder"):
        if row["status"] == "taken" and house.is_over and not house.deeds("pizzas_served"):
            yield "a pizza is baked for guests who have left"
        elif row["status"] == "taken" and row["id"] in settled and "CancelPizza" not in house.under_way:
            yield "a pizza is baked that was cancelled"


def whoever_ends_has_what_was_promised(house: View) -> Iterator[str]:
    """A closed saga has thanked, and its bill is paid or written off; one called off has served nothing."""
    if house.saga is None or house.state not in house.scenario.outcomes:
        return
    completed = house.scenario.outcomes[house.state] == "completed"
    if completed and not house.deeds("client_thanked"):
        yield "it is closed, and nobody was thanked"
    if not completed and (house.deeds("pizzas_served") or house.rows("waiter.Bill")):
        yield "it is called off, and something was served or billed"


def who_has_left_is_not_served(house: View) -> Iterator[str]:
    """When it is over, nobody asks, serves or bills any more, however late the command comes."""
    wrong = {"PlaceOrder", "ShowMenu", "ServePizzas", "ShowBill"}
    if any(bill["paid_at"] is not None for bill in house.rows("waiter.Bill")):
        wrong.remove("ShowBill")  # the waiter knows that it is paid
    if house.state in house.scenario.outcomes:
        for type_ in wrong & {*house.under_way}:
            yield f"it is {house.state}, and {type_} may still come"


Invariant = Callable[[View], Iterator[str]]
INVARIANTS: tuple[Invariant, ...] = (
    nothing_is_done_twice,
    the_till_is_the_sum_of_the_paid_bills,
    no_pizza_is_lost,
    nothing_is_served_that_is_not_baked,
    nothing_is_baked_for_nobody,
    whoever_ends_has_what_was_promised,
    who_has_left_is_not_served,
)


def broken(house: View) -> Iterator[tuple[str, str]]:
    """The invariants that do not hold, each with what is wrong."""
    for invariant in INVARIANTS:
        for wrong in invariant(house):
            yield invariant.__name__.replace("_", " "), wrong
