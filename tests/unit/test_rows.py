"""Rows by lean SQL are what Django's ORM would have made of them."""

import threading
from uuid import UUID

import pytest
from django.db import connection, transaction
from uuid_utils.compat import uuid7

from orders.pizzas import OrderedPizza
from orders.table_service import TableService
from pizzahouse.messaging import rows
from tests.unit.postoffice import committed


def a_table() -> TableService:
    wish = [{"quantity": 1, "code": "ä", "size": "xl"}]
    return TableService.objects.create(table="TBL1", state="baking", baking=2, wish=wish)


@pytest.mark.django_db
def test_a_locked_row_is_the_row() -> None:
    made = a_table()
    with transaction.atomic():
        locked = rows.lock(TableService, made.pk)
    assert locked is not None
    assert locked == made
    for field in TableService._meta.concrete_fields:
        assert getattr(locked, field.attname) == getattr(made, field.attname)
    assert not locked._state.adding
    locked.baking = 1
    locked.save()
    assert TableService.objects.get().baking == 1


@pytest.mark.django_db
def test_a_row_that_is_not_there_is_none() -> None:
    with transaction.atomic():
        assert rows.lock(TableService, UUID(int=1)) is None


@committed
def test_a_locked_row_waits_for_its_owner() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    made = a_table()
    got_it = threading.Event()

    def lock_it_too() -> None:
        with transaction.atomic():
            rows.lock(TableService, made.pk)
            got_it.set()
        connection.close()

    other = threading.Thread(target=lock_it_too)
    with transaction.atomic():
        rows.lock(TableService, made.pk)
        other.start()
        assert not got_it.wait(0.3)
    assert got_it.wait(5)
    other.join(5)


@pytest.mark.django_db
def test_an_update_changes_the_rows_it_names_and_counts_them() -> None:
    table = a_table()
    pizzas = [
        OrderedPizza.objects.create(id=uuid7(), saga=table, code="a", size="b", price=1, currency="EUR")
        for _ in range(2)
    ]
    where = {"id": pizzas[0].pk, "status": "ordered"}
    assert rows.update(OrderedPizza, where, status="done") == 1
    assert rows.update(OrderedPizza, where, status="done") == 0
    status = dict(OrderedPizza.objects.values_list("id", "status"))
    assert status == {pizzas[0].pk: "done", pizzas[1].pk: "ordered"}
