"""The menu can be edited here; the next guest gets the new one."""

from django.contrib import admin
from unfold.admin import ModelAdmin, TabularInline

from menu.models import MenuItem, MenuPrice


class MenuPriceInline(TabularInline):
    model = MenuPrice
    extra = 0


@admin.register(MenuItem)
class MenuItemAdmin(ModelAdmin):
    list_display = ["code", "name", "position"]
    inlines = [MenuPriceInline]
