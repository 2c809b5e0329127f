"""The scenarios, for Django to find."""

from orders.pizzas import OrderedPizza
from orders.table_service import TableService

__all__ = ["OrderedPizza", "TableService"]
