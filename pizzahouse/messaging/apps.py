"""The kernel as a Django app."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class MessagingConfig(AppConfig):
    name = "pizzahouse.messaging"
    label = "messaging"
    verbose_name = "Messages"

    def ready(self) -> None:
        from pizzahouse.messaging import checks, tracing  # noqa: F401  (registers the checks)

        # Every process knows every handler, so that each can tell a mistyped destination, and every effect.
        autodiscover_modules("actors", "effects")
        tracing.start()
