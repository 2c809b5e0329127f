"""What the waiter did, and his till, to look at."""

from django.contrib import admin

from pizzahouse.messaging.admin import ReadOnlyAdmin
from waiter.models import Bill, Deed, Payment, Question, Till


@admin.register(Deed)
class DeedAdmin(ReadOnlyAdmin):
    list_display = ["table", "kind", "pizzas", "at", "visit"]
    list_filter = ["kind"]
    search_fields = ["table", "visit"]


@admin.register(Question)
class QuestionAdmin(ReadOnlyAdmin):
    list_display = ["table", "asked_at", "answered_at", "visit"]
    search_fields = ["table", "visit"]


@admin.register(Bill)
class BillAdmin(ReadOnlyAdmin):
    list_display = ["table", "amounts", "shown", "shown_at", "paid_at", "visit"]
    search_fields = ["table", "visit"]


@admin.register(Payment)
class PaymentAdmin(ReadOnlyAdmin):
    list_display = ["id", "bill", "accepted", "received_at"]
    search_fields = ["id"]


@admin.register(Till)
class TillAdmin(ReadOnlyAdmin):
    list_display = ["currency", "amount"]
