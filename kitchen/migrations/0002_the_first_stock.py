"""Enough for the five pizzas of the house."""

from django.db import migrations

PIZZAS = ("pmghr", "pfngh", "pvege", "proma", "pamat")
MANY = 1_000_000


def fill_up(apps, schema_editor):
    Stock = apps.get_model("kitchen", "Stock")
    for code in PIZZAS:
        Stock.objects.create(code=code, left=MANY)


class Migration(migrations.Migration):
    dependencies = [("kitchen", "0001_initial")]
    operations = [migrations.RunPython(fill_up, migrations.RunPython.noop)]
