"""The waiter at work."""

from django.db.models.functions import Now
from msgspec import convert, to_builtins

from pizzahouse.messaging import outbox
from pizzahouse.messaging.envelope import Envelope
from pizzahouse.messaging.handling import After, Answer, correlation, handles
from pizzahouse.messaging.inbox import Outcome, Status
from waiter import bills, guest
from waiter.contracts import (
    Apologize,
    BillQuestion,
    ClientApologized,
    ClientLeft,
    ClientThanked,
    GetQuestion,
    MenuShown,
    Offer,
    OrderLine,
    OrderPlaced,
    OrderQuestion,
    PizzasServed,
    PlaceOrder,
    QuestionGot,
    ServePizzas,
    ShowBill,
    ShowMenu,
    TakeOrder,
    TakePayment,
    ThankClient,
)
from waiter.models import Bill, Deed, Question

NOT_ASKED = Outcome(Status.IGNORED, detail="it is answered, or nobody asks it any more")


def _done(kind: Deed.Kind, table: str, pizzas: int = 0) -> None:
    outbox.record(Deed(kind=kind, table=table, visit=correlation(), pizzas=pizzas))


@handles(ShowMenu)
def show_menu(command: ShowMenu) -> MenuShown:
    _done(Deed.Kind.MENU_SHOWN, command.table)
    return MenuShown(table=command.table, menu=command.menu)


@handles(PlaceOrder)
def place_order(command: PlaceOrder) -> After | None:
    if command.in_person:
        reply = to_builtins(outbox.current_envelope())
        menu = to_builtins(command.menu)
        outbox.record(Question(table=command.table, visit=correlation(), menu=menu, reply=reply))
        return None
    lines = () if guest.leaves() else guest.choose(command.menu, command.wish)
    return After(guest.pause(guest.CHOOSING), _ordered(command.table, lines))


def _ordered(table: str, lines: tuple[OrderLine, ...]) -> OrderPlaced | ClientLeft:
    if not lines:
        _done(Deed.Kind.CLIENT_LEFT, table)
        return ClientLeft(table=table)
    _done(Deed.Kind.ORDER_TAKEN, table, sum(line.quantity for line in lines))
    return OrderPlaced(table=table, lines=lines)


@handles(ServePizzas)
def serve_pizzas(command: ServePizzas) -> PizzasServed:
    _done(Deed.Kind.PIZZAS_SERVED, command.table, command.pizzas)
    return PizzasServed(table=command.table)


def show_bill_again(command: ShowBill) -> Answer:
    """The visit has its bill already."""
    bill = Bill.objects.select_for_update().get(visit=correlation())
    if bill.paid_at is not None:
        return Outcome(Status.IGNORED, detail="it is paid")
    bill.shown += 1
    answer = bills.present(bill, in_person=command.in_person)
    bill.save()
    return answer


@handles(ShowBill, refused=show_bill_again)
def show_bill(command: ShowBill) -> Answer:
    """The database refuses a second bill of a visit."""
    bill = Bill(table=command.table, visit=correlation(), amounts=command.bill)
    answer = bills.present(bill, in_person=command.in_person)
    outbox.record(bill)
    return answer


@handles(ThankClient)
def thank_client(command: ThankClient) -> ClientThanked:
    _done(Deed.Kind.CLIENT_THANKED, command.table)
    return ClientThanked(table=command.table)


@handles(Apologize)
def apologize(command: Apologize) -> ClientApologized:
    """Whatever they were just asked, they need not answer any more."""
    Question.objects.filter(visit=correlation(), answered_at=None).update(answered_at=Now())
    _done(Deed.Kind.CLIENT_APOLOGIZED, command.table)
    return ClientApologized(table=command.table)


# --- What a human guest says ----------------------------------------------------------------------


@handles(GetQuestion)
def get_question(command: GetQuestion) -> QuestionGot:
    """Changes nothing."""
    question = Question.objects.filter(visit=command.visit, answered_at=None).first()
    bill = Bill.objects.filter(visit=command.visit, asks=True).first()
    return QuestionGot(
        order=OrderQuestion(question.id, convert(question.menu, tuple[Offer, ...])) if question else None,
        bill=BillQuestion(bill.id, bill.amounts) if bill else None,
    )


@handles(TakeOrder)
def take_order(command: TakeOrder) -> Outcome | None:
    """What cannot be ordered leaves the question open."""
    question = Question.objects.select_for_update().filter(pk=command.question, answered_at=None).first()
    if question is None:
        return NOT_ASKED
    try:
        lines = guest.order(convert(question.menu, tuple[Offer, ...]), command.wish)
    except guest.NotOnTheMenu as error:
        return Outcome(Status.IGNORED, detail=str(error))
    Question.objects.filter(pk=question.pk).update(answered_at=Now())
    outbox.put(_ordered(question.table, lines), cause=convert(question.reply, Envelope))
    return None


@handles(TakePayment)
def take_payment(command: TakePayment) -> Outcome | None:
    bill = Bill.objects.select_for_update().filter(pk=command.bill, asks=True).first()
    if bill is None:
        return NOT_ASKED
    outbox.put(bills.settle(bill, pays=command.pays), cause=convert(bill.reply, Envelope))
    bill.save()
    return None
