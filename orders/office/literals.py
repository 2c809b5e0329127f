"""Values as they are written in code."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

WIDTH = 110
FLAT = -1_000_000  # a column from which there is always room


class Literals:
    """Writes plain values, and dataclasses of such. A long list that occurs again has a name."""

    def __init__(self, values: list[Any]) -> None:
        self._names: dict[str, str] = {}  # of lists, by how they are written
        counted = Counter(self._long_lists("", values))
        self.named: list[str] = []  # the assignments
        for (field, text, indented), count in counted.items():
            if count > 1 and text not in self._names:
                self._names[text] = self._free(field.upper())
                self.named.append(f"{self._names[text]} = {indented}\n")

    def write(self, value: Any, indent: int = 0, column: int | None = None) -> str:
        """As Python writes it: on one line where there is room from this column on, else with a line for
        each of its parts."""
        column = indent if column is None else column
        if is_dataclass(value) and not isinstance(value, type):
            return self._lay_out(f"{type(value).__name__}(", list(_given(value)), ")", indent, column)
        if isinstance(value, dict):
            parts = [(f"{self.write(key)}: ", item) for key, item in value.items()]
            return self._lay_out("{", parts, "}", indent, column)
        if isinstance(value, list | tuple):
            parts = [("", item) for item in value]
            name = self._names.get(self._lay_out("[", parts, "]", FLAT, FLAT)) if self._names else None
            return name or self._lay_out("[", parts, "]", indent, column)
        return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)

    def _lay_out(
        self, opening: str, parts: list[tuple[str, Any]], closing: str, indent: int, column: int
    ) -> str:
        flat = opening + ", ".join(name + self.write(part, FLAT) for name, part in parts) + closing
        if column + len(flat) < WIDTH or not parts:
            return flat
        inner = indent + 4
        lines = [
            f"{' ' * inner}{name}{self.write(part, inner, inner + len(name))},\n" for name, part in parts
        ]
        return f"{opening}\n{''.join(lines)}{' ' * indent}{closing}"

    def _long_lists(self, field: str, value: Any) -> Iterator[tuple[str, str, str]]:
        """Each with the field it is in."""
        if is_dataclass(value) and not isinstance(value, type):
            value = value.__dict__
        if isinstance(value, dict):
            for key, item in value.items():
                yield from self._long_lists(key, item)
        elif isinstance(value, list | tuple):
            text = self.write(value, FLAT)
            if field.isidentifier() and len(text) > WIDTH:
                yield field, text, self.write(value)
            for each in value:
                yield from self._long_lists("", each)

    def _free(self, name: str) -> str:
        names = [name, *(f"{name}_{number}" for number in range(2, len(self._names) + 2))]
        return next(each for each in names if each not in self._names.values())


def _given(value: Any) -> Iterator[tuple[str, Any]]:
    """The fields that have no default, or another value than that."""
    for each in fields(value):
        given = getattr(value, each.name)
        if each.default is MISSING or (given != each.default and given not in ([], ())):
            yield f"{each.name}=", given
