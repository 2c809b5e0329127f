"""The office as a Django app of its own: no scenario needs it."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate


class OfficeConfig(AppConfig):
    name = "orders.office"
    label = "office"
    verbose_name = "The manager's office"

    def ready(self) -> None:
        from orders.office import figures, view

        pre_migrate.connect(view.drop, sender=self)
        post_migrate.connect(view.create, sender=self)
        figures.show()
