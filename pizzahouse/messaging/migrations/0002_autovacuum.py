"""Every row of the outbox is updated once, when it was sent: clean up in small steps, not after 20 %."""

from django.db import migrations

TABLES = ("messaging_outboxmessage", "messaging_inboxmessage")


def set_thresholds(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        for table in TABLES:
            schema_editor.execute(
                f"ALTER TABLE {table} SET"
                " (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000)"
            )


class Migration(migrations.Migration):
    dependencies = [("messaging", "0001_initial")]
    operations = [migrations.RunPython(set_thresholds, migrations.RunPython.noop)]
