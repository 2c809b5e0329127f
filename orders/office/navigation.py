"""What the admin's sidebar leads to, for those who may see it."""

from functools import partial
from typing import Any

from django.http import HttpRequest
from django.urls import reverse

# Title, icon, where it leads, and what one has to be allowed to see it.
GROUPS: dict[str, list[tuple[str, str, str, str]]] = {
    "The manager's office": [
        ("Processes", "monitoring", "admin:office_process_changelist", "office.view_process"),
        ("Dead letters", "dangerous", "office:dead_letters", "messaging.view_inboxmessage"),
        ("Queues", "stacks", "office:queues", "messaging.view_outboxmessage"),
        ("Mendings", "build", "admin:office_mending_changelist", "office.view_mending"),
        ("Explorer", "explore", "admin:office_explorerreport_changelist", "office.view_explorerreport"),
    ],
    "Messages": [
        ("Outbox", "outbox", "admin:messaging_outboxmessage_changelist", "messaging.view_outboxmessage"),
        ("Inbox", "inbox", "admin:messaging_inboxmessage_changelist", "messaging.view_inboxmessage"),
    ],
    "The house": [
        ("Menu", "menu_book", "admin:menu_menuitem_changelist", "menu.view_menuitem"),
        ("Pizzas", "local_pizza", "admin:kitchen_kitchenorder_changelist", "kitchen.view_kitchenorder"),
        ("Stock", "inventory_2", "admin:kitchen_stock_changelist", "kitchen.view_stock"),
        ("Bills", "receipt_long", "admin:waiter_bill_changelist", "waiter.view_bill"),
    ],
    "People": [
        ("Users", "person", "admin:auth_user_changelist", "auth.view_user"),
        ("Groups", "group", "admin:auth_group_changelist", "auth.view_group"),
    ],
}


def sidebar(_request: HttpRequest) -> list[dict[str, Any]]:
    """The sidebar, as Unfold wants it."""
    return [
        {
            "title": title,
            "items": [
                {"title": name, "icon": icon, "link": reverse(view), "permission": partial(_may, permission)}
                for name, icon, view, permission in items
            ],
        }
        for title, items in GROUPS.items()
    ]


def _may(permission: str, request: HttpRequest) -> bool:
    return request.user.has_perm(permission)
