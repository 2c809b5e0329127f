"""The waiter app."""

from django.apps import AppConfig


class WaiterConfig(AppConfig):
    name = "waiter"
    verbose_name = "The waiter"

    def ready(self) -> None:
        from waiter import checks  # noqa: F401  (registers them)
