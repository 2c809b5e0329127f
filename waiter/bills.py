"""Bills: whoever pays one, and however, it is paid once, and the money is in the till."""

from django.conf import settings
from django.utils import timezone
from msgspec import to_builtins

from pizzahouse.messaging.handling import After, Answer
from pizzahouse.messaging.outbox import current_envelope
from waiter import guest
from waiter.contracts import BillPaid, PaymentDeclined
from waiter.models import Bill, Till

REMOTE = "remote"


def present(bill: Bill, *, in_person: bool) -> Answer:
    """Put the bill before the guest. A simulated guest answers at once; otherwise it asks until somebody
    does. Changes the bill, which the caller saves."""
    bill.reply = to_builtins(current_envelope())
    if in_person or settings.PIZZAHOUSE_PAYMENT == REMOTE:
        bill.asks = True
        return None
    return After(guest.pause(guest.PAYING), settle(bill, pays=not guest.declines()))


def settle(bill: Bill, *, pays: bool) -> BillPaid | PaymentDeclined:
    """Take the money, or not. Changes the bill, which the caller has locked, and saves."""
    bill.asks = False
    if not pays:
        return PaymentDeclined(table=bill.table, bill=bill.amounts)
    bill.paid_at = timezone.now()
    Till.take_in(bill.amounts)
    return BillPaid(table=bill.table, bill=bill.amounts)
