"""Human guests at the terminal: they read the menu, order by typing, and pay or do not."""

from collections.abc import Iterator
from uuid import UUID

from django.db import transaction
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, WordCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.validation import ValidationError, Validator

from orders import order_text
from orders.cli import note_console, result_console
from pizzahouse.messaging import outbox
from pizzahouse.messaging.handling import ask
from pizzahouse.messaging.models import InboxMessage
from pizzahouse.money import in_words
from waiter.contracts import (
    BillQuestion,
    GetQuestion,
    Offer,
    OrderQuestion,
    QuestionGot,
    TakeOrder,
    TakePayment,
    Wish,
)

LEAVE = "leave"
SETTLED = (InboxMessage.Status.DONE, InboxMessage.Status.IGNORED)


class OrderCompleter(Completer):
    """Completes the pizza and its size, wherever in the order the cursor is."""

    def __init__(self, menu: tuple[Offer, ...]) -> None:
        self.offers = [f"{offer.code} {offer.size}" for offer in menu if not offer.sold_out]

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        line = document.text_before_cursor.rpartition(",")[2].lower()
        typed = line.rpartition(" x ")[2].lstrip()
        for offer in self.offers:
            if offer.startswith(typed) and offer != typed:
                yield Completion(offer, start_position=-len(typed))


class OrderValidator(Validator):
    """Says what is wrong with an order, so that it can be mended."""

    def __init__(self, menu: tuple[Offer, ...]) -> None:
        self.menu = menu

    def validate(self, document: Document) -> None:
        try:
            read(document.text, self.menu)
        except (order_text.UnreadableOrder, order_text.NotOnTheMenu) as error:
            raise ValidationError(len(document.text), str(error)) from error


def read(text: str, menu: tuple[Offer, ...]) -> tuple[Wish, ...]:
    """What they want, as it was typed; nothing if they leave. Raises UnreadableOrder, NotOnTheMenu."""
    if text.strip().lower() == LEAVE:
        return ()
    wish = order_text.parse(text)
    order_text.check(wish, menu)
    return wish


class Guests:
    """The guests of one process, who answer what the waiter asks them."""

    def __init__(self, saga_id: UUID) -> None:
        self.saga_id = saga_id
        self.answer: UUID | None = None  # a message that nobody has handled yet
        self.session: PromptSession[str] = PromptSession()

    def question(self) -> OrderQuestion | BillQuestion | None:
        """What the waiter asks them, as far as they have not answered it."""
        if self.answer is not None and not self._is_taken(self.answer):
            return None
        question = ask(GetQuestion(visit=self.saga_id))
        assert isinstance(question, QuestionGot)
        return question.order or question.bill

    def _is_taken(self, answer: UUID) -> bool:
        taken = InboxMessage.objects.filter(message_id=answer, status__in=SETTLED).first()
        if taken is not None:
            self.answer = None
            if taken.detail:
                note_console().print(f"The waiter shakes his head: {taken.detail}", markup=False)
        return taken is not None

    def reply(self, question: OrderQuestion | BillQuestion) -> None:
        """Have them type an answer, and put it. Raises KeyboardInterrupt, EOFError."""
        command = self._order(question) if isinstance(question, OrderQuestion) else self._pay(question)
        with transaction.atomic():
            self.answer = outbox.put(command, saga=self.saga_id)

    def _order(self, question: OrderQuestion) -> TakeOrder:
        sold_out = sorted({offer.code for offer in question.menu if offer.sold_out})
        if sold_out:
            result_console().print(f"sold out: {', '.join(sold_out)}", markup=False)
        text = self.session.prompt(
            f'What would you like? ("2 x pmghr xl, 1 x proma xl", or "{LEAVE}") ',
            completer=OrderCompleter(question.menu),
            validator=OrderValidator(question.menu),
            validate_while_typing=False,
        )
        return TakeOrder(question=question.id, wish=read(text, question.menu))

    def _pay(self, question: BillQuestion) -> TakePayment:
        total = " and ".join(in_words(amount, currency) for currency, amount in question.bill.items())
        choices = ["yes", "no"]
        text = self.session.prompt(
            f"Pay {total or 'nothing'}? (yes, or no: the card is declined) ",
            completer=WordCompleter(choices, ignore_case=True),
            validator=Validator.from_callable(
                lambda text: text.strip().lower() in choices,
                error_message="Please type yes or no.",
                move_cursor_to_end=True,
            ),
            validate_while_typing=False,
        )
        return TakePayment(bill=question.id, pays=text.strip().lower() == "yes")
