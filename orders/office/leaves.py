"""The texts of a payload: its plain values, walked beside the type that its contract gives them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from sys import modules
from typing import Any

from msgspec import inspect

from orders.contracts import DeadlinePassed
from orders.saga import scenarios
from pizzahouse.messaging.errors import UnknownMessage
from pizzahouse.messaging.messages import contract

ANY = inspect.AnyType()
STRUCTS = (inspect.StructType, inspect.DataclassType, inspect.TypedDictType)
SEQUENCES = (inspect.ListType, inspect.VarTupleType, inspect.SetType, inspect.FrozenSetType)
Leaf = Callable[[inspect.Type, str, str], str]


def replaced(name: str, payload: object, leaf: Leaf) -> Any:
    """The payload of a message of this wire name, with each text replaced by what `leaf` makes of its type,
    itself, and its field's name. Words that the contract defines stay, and fields that it does not know are
    left out."""
    return Walk(_words(name), leaf).over(_type(name), payload, name)


@dataclass(frozen=True, slots=True)
class Walk:
    """One walk through a payload."""

    words: frozenset[str]
    leaf: Leaf

    def over(self, kind: inspect.Type, value: Any, field: str) -> Any:
        """The value, which is of this type, or should be."""
        kind = _part(kind, value)
        if isinstance(value, str):
            return value if self._is_word(kind, value) else self.leaf(kind, value, field)
        if isinstance(value, list):
            pairs = zip(_items(kind, len(value)), value, strict=True)
            return [self.over(each, item, field) for each, item in pairs]
        if not isinstance(value, dict):
            return value
        if isinstance(kind, STRUCTS):
            return self._over_fields(kind, value)
        keys, values = (kind.key_type, kind.value_type) if isinstance(kind, inspect.DictType) else (ANY, ANY)
        return {self.over(keys, key, field): self.over(values, item, field) for key, item in value.items()}

    def _over_fields(self, kind: Any, value: dict[str, Any]) -> dict[str, Any]:
        tag = getattr(kind, "tag_field", None)
        walked = {tag: value[tag]} if tag in value else {}
        for each in kind.fields:
            if each.encode_name in value:
                walked[each.encode_name] = self.over(each.type, value[each.encode_name], each.name)
        return walked

    def _is_word(self, kind: inspect.Type, value: str) -> bool:
        if isinstance(kind, inspect.LiteralType):
            return value in kind.values
        if isinstance(kind, inspect.EnumType):
            return value in {each.value for each in kind.cls}
        return value in self.words


def _part(kind: inspect.Type, value: Any) -> inspect.Type:
    """Of a union the part that this value is of, as far as that can be told from it."""
    if isinstance(kind, inspect.Metadata):
        return _part(kind.type, value)
    if not isinstance(kind, inspect.UnionType):
        return kind
    parts = [_part(each, value) for each in kind.types]
    return next((each for each in parts if _may_be(each, value)), ANY)


def _may_be(kind: inspect.Type, value: Any) -> bool:
    if isinstance(value, dict):
        tag = getattr(kind, "tag_field", None)
        is_it = not tag or value.get(tag) == getattr(kind, "tag", None)
        return isinstance(kind, (*STRUCTS, inspect.DictType)) and is_it
    if isinstance(value, list):
        return isinstance(kind, (*SEQUENCES, inspect.TupleType)) or getattr(kind, "array_like", False)
    return not isinstance(kind, inspect.NoneType)


def _items(kind: inspect.Type, count: int) -> list[inspect.Type]:
    if isinstance(kind, inspect.StructType) and kind.array_like:
        tag = [inspect.LiteralType((kind.tag,))] if kind.tag_field else []
        return [*tag, *(each.type for each in kind.fields), *[ANY] * count][:count]
    if isinstance(kind, inspect.TupleType) and len(kind.item_types) == count:
        return list(kind.item_types)
    return [kind.item_type if isinstance(kind, SEQUENCES) else ANY] * count


@cache
def _type(name: str) -> inspect.Type:
    """What a payload of this wire name is; anything, where the contract is not installed any more."""
    try:
        return inspect.type_info(contract(name))
    except UnknownMessage:
        return ANY


@cache
def _words(name: str) -> frozenset[str]:
    """The constants beside the contract, such as SOLD_OUT; for a deadline the states."""
    if name == DeadlinePassed.__name__:
        return frozenset(state for scenario in scenarios() for _on, state in scenario.steps())
    try:
        defined = vars(modules[contract(name).__module__])
    except UnknownMessage:
        return frozenset()
    return frozenset(each for key, each in defined.items() if key.isupper() and isinstance(each, str))
