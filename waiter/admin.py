"""What the waiter did, to look at."""

from django.contrib import admin

from pizzahouse.messaging.admin import ReadOnlyAdmin
from waiter.models import Bill, Deed


@admin.register(Deed)
class DeedAdmin(ReadOnlyAdmin):
    list_display = ["table", "kind", "pizzas", "at", "visit"]
    list_filter = ["kind"]
    search_fields = ["table", "visit"]


@admin.register(Bill)
class BillAdmin(ReadOnlyAdmin):
    list_display = ["table", "amounts", "shown_at", "visit"]
    search_fields = ["table", "visit"]
