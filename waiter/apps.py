"""The waiter app."""

from django.apps import AppConfig


class WaiterConfig(AppConfig):
    name = "waiter"
    verbose_name = "The waiter"
