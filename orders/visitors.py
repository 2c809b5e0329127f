"""Guests of all kinds for a house that is looked at: most eat and pay, and with some it goes wrong."""

from dataclasses import dataclass
from uuid import UUID

from django.apps import apps
from django.conf import settings
from django.db import transaction
from django.db.models import Model

from orders.contracts import StartTableService
from orders.simple_serving import SimpleServing, StartSimpleServing
from orders.table_service import MOST_DECLINES, TableService
from pizzahouse.messaging import outbox
from pizzahouse.messaging.handling import ask
from waiter.contracts import (
    BillQuestion,
    GetQuestion,
    OrderQuestion,
    QuestionGot,
    TakeOrder,
    TakePayment,
    Wish,
)

TABLE = "PARTY"  # and a number, which tells what kind of guests they are
SCARCE, COLD = "pvege", "pfngh"  # what is nearly sold out, and what the oven is too cold for
LEFT = 1  # of the scarce one
USUAL = (Wish(2, "pmghr", "xl"), Wish(1, "proma", "xl"), Wish(2, "pamat", "xxl"))


@dataclass(frozen=True)
class Kind:
    """A kind of guests: what there will be to see, what they order, and how they behave."""

    will: str
    wish: tuple[Wish, ...] = USUAL
    in_person: bool = False  # the waiter asks them, and `Visitors.answer` answers
    leave: bool = False
    pay: bool = True
    counter: bool = False

    def arrives(self, table: str) -> UUID:
        """Starts their process; returns its id."""
        if self.counter:
            return SimpleServing.begin(StartSimpleServing(table=table, wish=self.wish))
        command = StartTableService(
            table=table, wish=() if self.in_person else self.wish, in_person=self.in_person
        )
        return TableService.begin(command)


# Those with whom something is to be seen come early.
ROUND = (
    Kind("eat and pay"),
    Kind("order and cannot pay until the manager decides", in_person=True, pay=False),
    Kind(
        f"order {COLD}, for which the oven is cold at times",
        wish=(Wish(2, COLD, "xl"), Wish(1, "pmghr", "xl")),
    ),
    Kind("eat and pay", wish=(Wish(1, "proma", "xxl"),)),
    Kind("order what is on no menu", wish=(Wish(1, "hawaii", "xl"),)),
    Kind("order and pay at the counter", wish=(Wish(1, "pmghr", "xl"),), counter=True),
    Kind("read the menu and leave", in_person=True, leave=True),
    Kind(f"order more {SCARCE} than there is", wish=(Wish(2, SCARCE, "xl"), Wish(1, "pmghr", "xl"))),
    Kind("eat and pay", wish=(Wish(4, "pmghr", "xl"),)),
    Kind("eat and pay", wish=(Wish(1, "pamat", "xxl"), Wish(1, "proma", "xl"))),
    Kind("eat and pay"),
    Kind("eat and pay", wish=(Wish(2, "pamat", "xl"),)),
    Kind("eat and pay", wish=(Wish(3, "proma", "xl"), Wish(1, "pmghr", "xxl"))),
    Kind("eat and pay"),
)


def kind_of(number: int) -> Kind:
    """What kind of guests the party of this number is, from 1 on."""
    return ROUND[(number - 1) % len(ROUND)]


def is_oven_cold(number: int) -> bool:
    """Whether the oven is cold from the time when they come: in two rounds of three, so that messages come
    to be dead, and can recover."""
    return (number - 1) // len(ROUND) % 3 < 2


def last_number() -> int:
    """Of the party that came last, before this process too; 0 where none came."""
    numbers = [0]
    for scenario in (TableService, SimpleServing):
        seated = scenario._default_manager.filter(table__startswith=TABLE).order_by("-id")
        numbers += [_number(table) for table in seated.values_list("table", flat=True)[:1]]
    return max(numbers)


def _number(table: str) -> int:
    number = table.removeprefix(TABLE)
    return int(number) if number.isdecimal() else 0


class Visitors:
    """All who come while this process runs, and whom earlier ones left at their tables."""

    def __init__(self) -> None:
        self.number = last_number()
        self._answered: set[tuple[UUID, int]] = set()
        self._always_cold = list(settings.PIZZAHOUSE_COLD_OVEN)
        if not self.number:
            stock: type[Model] = apps.get_model("kitchen", "Stock")
            stock._default_manager.filter(code=SCARCE, left__gt=LEFT).update(left=LEFT)
        self._heat()

    def seat(self) -> str:
        """The next party comes; returns what there will be to see."""
        self.number += 1
        self._heat()
        table, kind = f"{TABLE}{self.number}", kind_of(self.number)
        with transaction.atomic():
            kind.arrives(table)
        return f"{table} will {kind.will}"

    def _heat(self) -> None:
        """Or let the oven grow cold. The kitchen is in this process."""
        now = [COLD] if is_oven_cold(max(self.number, 1)) else []
        settings.PIZZAHOUSE_COLD_OVEN = [*self._always_cold, *now]

    def answer(self) -> None:
        """Those whom the waiter asks in person answer him, once each time."""
        asked = TableService.objects.filter(
            in_person=True, table__startswith=TABLE, state__in=TableService.for_guests
        )
        for saga in asked:
            got = ask(GetQuestion(visit=saga.pk))
            assert isinstance(got, QuestionGot)
            question = got.order or got.bill
            if question is None or (question.id, saga.declined) in self._answered:
                continue
            with transaction.atomic():
                outbox.put(reply(kind_of(_number(saga.table)), question, saga.declined), saga=saga.pk)
            self._answered.add((question.id, saga.declined))


def reply(kind: Kind, question: OrderQuestion | BillQuestion, declined: int) -> TakeOrder | TakePayment:
    """What such guests answer, whose card was declined so often."""
    if isinstance(question, OrderQuestion):
        return TakeOrder(question=question.id, wish=() if kind.leave else kind.wish)
    return TakePayment(bill=question.id, pays=kind.pay or declined >= MOST_DECLINES)
