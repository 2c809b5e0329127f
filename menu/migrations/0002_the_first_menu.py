"""The five pizzas of the house."""

from django.db import migrations

PIZZAS = [
    ("pmghr", "Pizza Margherita", 1400, 2500),
    ("pfngh", "Pizza Funghi", 1800, 3000),
    ("pvege", "Pizza Vegetariana", 1900, 3100),
    ("proma", "Pizza Romana", 2000, 3500),
    ("pamat", "Pizza Amatriciana", 2100, 3800),
]


def seed(apps, schema_editor):
    MenuItem = apps.get_model("menu", "MenuItem")
    MenuPrice = apps.get_model("menu", "MenuPrice")
    for position, (code, name, xl, xxl) in enumerate(PIZZAS, start=1):
        item = MenuItem.objects.create(code=code, name=name, position=position)
        MenuPrice.objects.create(item=item, size="xl", price=xl)
        MenuPrice.objects.create(item=item, size="xxl", price=xxl)


class Migration(migrations.Migration):
    dependencies = [("menu", "0001_initial")]
    operations = [migrations.RunPython(seed, migrations.RunPython.noop)]
