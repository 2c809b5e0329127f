"""The menu at work."""

from menu.contracts import GetMenu, MenuGot, Offer
from menu.models import MenuPrice
from pizzahouse.messaging.handling import handles


@handles(GetMenu)
def get_menu(command: GetMenu) -> MenuGot:
    """Changes nothing."""
    prices = MenuPrice.objects.values_list("item", "item__name", "size", "price", "currency")
    return MenuGot(menu=tuple(Offer(*price, sold_out=price[0] in command.sold_out) for price in prices))
