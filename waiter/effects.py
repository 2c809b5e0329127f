"""What a visit has changed at the table and in the till."""

from collections.abc import Iterator
from uuid import UUID

from django.urls import reverse

from pizzahouse.messaging.effects import Effect, effects, shortlist
from pizzahouse.money import in_words
from waiter.models import Bill, Deed, Payment, Question

Kind = Deed.Kind
DONE = {
    Kind.MENU_SHOWN: "The menu was shown.",
    Kind.ORDER_TAKEN: "An order was taken: pizzas: {}.",
    Kind.PIZZAS_SERVED: "Pizzas were served: {}.",
    Kind.CLIENT_THANKED: "The guests were thanked.",
    Kind.CLIENT_LEFT: "The guests left without ordering.",
    Kind.CLIENT_APOLOGIZED: "The guests were told that there is nothing to eat.",
}


@effects
def deeds(visit: UUID) -> list[Effect]:
    """What was done at the table."""
    url = f"{reverse('admin:waiter_deed_changelist')}?visit={visit}"
    done = Deed.objects.filter(visit=visit).order_by("id")
    return shortlist(
        [Effect("deed", DONE[Kind(deed.kind)].format(deed.pizzas), deed.at, url) for deed in done]
    )


@effects
def questions(visit: UUID) -> list[Effect]:
    """What human guests were asked; one that was taken back is closed too."""
    url = f"{reverse('admin:waiter_question_changelist')}?visit={visit}"
    asked = Question.objects.filter(visit=visit).order_by("id")
    return shortlist(
        [
            Effect("question", f"The guests were asked for an order: {_still(question)}.", at, url)
            for question in asked
            for at in [question.answered_at or question.asked_at]
        ]
    )


def _still(question: Question) -> str:
    return "the question is closed" if question.answered_at else "nobody has answered yet"


@effects
def bill_and_till(visit: UUID) -> Iterator[Effect]:
    """The bill, what was paid of it, and what payment services told."""
    for bill in Bill.objects.filter(visit=visit):  # it has one at the most
        url = reverse("admin:waiter_bill_change", args=[bill.pk])
        yield Effect("bill", _bill(bill), bill.paid_at or bill.shown_at, url)
        if bill.paid_at is not None:
            yield Effect("till", f"{_sum(bill)} went into the till.", bill.paid_at, url)
    told = Payment.objects.filter(bill__visit=visit).order_by("received_at", "id")
    yield from shortlist([_payment(payment) for payment in told])


def _bill(bill: Bill) -> str:
    times = "once" if bill.shown == 1 else f"{bill.shown} times"
    if bill.paid_at is not None:
        then = "it is paid"
    else:
        then = "it waits for somebody who pays" if bill.asks else "it is not paid"
    return f"The bill of {_sum(bill)} was shown {times}; {then}."


def _sum(bill: Bill) -> str:
    return " and ".join(in_words(*each) for each in _amounts(bill)) or "nothing"


def _amounts(bill: Bill) -> list[tuple[int, str]]:
    return [(amount, currency) for currency, amount in sorted(bill.amounts.items())]


def _payment(payment: Payment) -> Effect:
    url = reverse("admin:waiter_payment_change", args=[payment.pk])
    how = "accepted" if payment.accepted else "declined"
    return Effect("payment", f"Payment {payment.pk} was {how}.", payment.received_at, url)
