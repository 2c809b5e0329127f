"""The door of a house, a process that lets in whom a test sends: a line asks, in JSON, and a line answers."""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

import django


def seat(
    tables: Sequence[str], wish: Sequence[Sequence[Any]], troubles: Sequence[str], in_person: bool
) -> list[str]:
    """A party at each table, with these troubles from the first; returns the ids of the processes."""
    from django.db import transaction

    from orders.contracts import StartTableService
    from orders.table_service import TableService
    from tests.browser.troubles import put
    from waiter.contracts import Wish

    seated = []
    for table in tables:
        with transaction.atomic():
            wishes = tuple(Wish(*each) for each in wish)
            saga = TableService.begin(StartTableService(table=table, wish=wishes, in_person=in_person))
            for what in troubles:
                put(saga, what)
        seated.append(str(saga))
    return seated


def hire(name: str, password: str, permissions: Sequence[str] | None) -> None:
    """Somebody who may do this ("office.view_process"), or everything."""
    from django.contrib.auth.models import Permission, User

    user = User.objects.create_user(name, password=password, is_staff=True, is_superuser=permissions is None)
    for each in permissions or ():
        app, _, codename = each.partition(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))


def main() -> None:
    """Until nobody asks any more."""
    django.setup()
    does: dict[str, Callable[..., object]] = {"seat": seat, "hire": hire}
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(does[asked.pop("do")](**asked)), flush=True)


if __name__ == "__main__":
    main()
