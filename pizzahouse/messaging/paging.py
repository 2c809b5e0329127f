"""Lists of millions: nobody turns that many pages, so they are not counted."""

from typing import Any

from django.core.paginator import Paginator
from django.utils.functional import cached_property

FAR = 10_000  # rows; beyond that, nothing is counted


class Many(int):
    """A number that was not counted any further."""

    def __str__(self) -> str:
        return f"the newest {int(self):,}"


class BoundedPaginator(Paginator):
    """Pages as far as anybody would turn them; who looks for more narrows the list."""

    @cached_property
    def count(self) -> int:
        objects: Any = self.object_list
        found = int(objects.order_by()[:FAR].count())
        return found if found < FAR else Many(found)
