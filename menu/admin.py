"""The menu can be edited here; the next guest gets the new one."""

from django.contrib import admin

from menu.models import MenuItem, MenuPrice


class MenuPriceInline(admin.TabularInline):
    model = MenuPrice
    extra = 0


@admin.register(MenuItem)
class MenuItemAdmin(admin.ModelAdmin):
    list_display = ["code", "name", "position"]
    inlines = [MenuPriceInline]
