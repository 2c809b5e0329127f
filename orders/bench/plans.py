"""How PostgreSQL answers a query, and what it reads for that."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from django.db import connection

from pizzahouse.messaging.paging import FAR

Plan = dict[str, Any]
MANY_ROWS = FAR  # what is more is nowhere counted
NEARLY_ALL = 0.9


def told(sql: str, params: Any) -> str:
    """The plan of a query, with what its parts took: it is run once more. Empty for what is no query."""
    return "\n".join(_explained("BUFFERS", sql, params)) if _is_query(sql) else ""


def big_tables() -> dict[str, float]:
    """The tables with many rows, and how many, as of the last ANALYZE."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, reltuples FROM pg_class WHERE relkind = 'r' AND reltuples >= %s", [MANY_ROWS]
        )
        return dict(cursor.fetchall())


def read_whole(sql: str, params: Any, tables: Mapping[str, float]) -> set[str]:
    """Those of these tables (name, rows) that a query reads from end to end, row by row: it is run once more.
    None of what is no query."""
    if not _is_query(sql):
        return set()
    [document] = _explained("FORMAT JSON", sql, params)
    [whole] = json.loads(document) if isinstance(document, str) else document
    scans = [part for part in _parts(whole["Plan"]) if part["Node Type"] == "Seq Scan"]
    return {
        name
        for scan in scans
        if (name := scan["Relation Name"]) in tables and _rows_read(scan) >= NEARLY_ALL * tables[name]
    }


def _is_query(sql: str) -> bool:
    return sql.lstrip(" (").startswith("SELECT")


def _explained(how: str, sql: str, params: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, {how}) {sql}", params)
        return [line for (line,) in cursor.fetchall()]


def _parts(plan: Plan) -> Iterator[Plan]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _parts(part)


def _rows_read(scan: Plan) -> float:
    each = scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0)
    return float(each * scan["Actual Loops"])
