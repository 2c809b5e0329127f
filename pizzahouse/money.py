"""Amounts of money, kept in minor units of their currency, for people to read."""

from decimal import Decimal

# ISO 4217: how many decimal places a currency has, where it is not two.
_PLACES = {"JPY": 0, "KRW": 0, "VND": 0, "CLP": 0, "ISK": 0, "BHD": 3, "KWD": 3, "TND": 3, "OMR": 3}


def decimal(amount: int, currency: str) -> str:
    """12400 EUR as "124.00"."""
    places = _PLACES.get(currency, 2)
    return str(Decimal(amount).scaleb(-places).quantize(Decimal(1).scaleb(-places)))


def in_words(amount: int, currency: str) -> str:
    """12400 EUR as "124.00 EUR"."""
    return f"{decimal(amount, currency)} {currency}"


def sums(amounts: dict[str, int]) -> dict[str, str]:
    """A sum per currency, {"EUR": 12400} as {"EUR": "124.00"}."""
    return {currency: decimal(amount, currency) for currency, amount in amounts.items()}
