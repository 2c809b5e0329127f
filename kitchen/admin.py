"""What was baked, to look at."""

from django.contrib import admin

from kitchen.models import KitchenOrder
from pizzahouse.messaging.admin import ReadOnlyAdmin


@admin.register(KitchenOrder)
class KitchenOrderAdmin(ReadOnlyAdmin):
    list_display = ["id", "code", "size", "taken_at", "visit"]
    search_fields = ["id", "visit"]
    list_filter = ["code", "size"]
