"""What was baked, to look at, and what there is to bake with, to be filled up."""

from django.contrib import admin
from unfold.admin import ModelAdmin

from kitchen.models import KitchenOrder, Stock
from pizzahouse.messaging.admin import ReadOnlyAdmin


@admin.register(KitchenOrder)
class KitchenOrderAdmin(ReadOnlyAdmin):
    list_display = ["id", "code", "size", "status", "taken_at", "visit"]
    search_fields = ["id", "visit"]
    list_filter = ["status", "code", "size"]


@admin.register(Stock)
class StockAdmin(ModelAdmin):
    list_display = ["code", "left"]
