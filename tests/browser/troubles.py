"""Troubles to order: what a table's visit has them with is said in rows, which tests put and take away while
the house runs (`tests.browser.settings` has it troubled)."""

from uuid import UUID

from django.db import connection

# A visit's trouble is the code of a pizza that cannot be baked, or this.
CARD = "card"
TABLE = "CREATE TABLE troubles (visit uuid, what text, PRIMARY KEY (visit, what))"
# Where somebody takes a trouble away and has not committed yet, the house waits.
LOOK = "SELECT 1 FROM troubles WHERE visit = %s AND what = %s FOR SHARE"
MEND = "DELETE FROM troubles WHERE visit = ANY(%s::uuid[])"


def put(visit: UUID, what: str) -> None:
    """From now on, until it is taken away."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO troubles VALUES (%s, %s)", [visit, what])


def has(visit: UUID | None, what: str) -> bool:
    """Whether a visit has this trouble."""
    with connection.cursor() as cursor:
        cursor.execute(LOOK, [visit, what])
        return cursor.fetchone() is not None
