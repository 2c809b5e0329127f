"""The report: where it ran, and the figures as a table."""

import os
import platform
from pathlib import Path

from django.db import connection
from rich.table import Table

from orders.bench.figures import Cpu, Direct, Driven, Machine, Percentiles, Plan, Report


def machine(rabbitmq: str) -> Machine:
    """This machine, and the servers' versions."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('server_version'), current_setting('fsync'),"
            " current_setting('synchronous_commit')"
        )
        version, fsync, synchronous_commit = cursor.fetchone()
    return Machine(
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
        cpu=_cpu(),
        python=platform.python_version(),
        postgresql=version.partition(" ")[0],
        fsync=fsync,
        synchronous_commit=synchronous_commit,
        rabbitmq=rabbitmq,
    )


def _cpu() -> str:
    information = Path("/proc/cpuinfo")
    for line in information.read_text().splitlines() if information.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def report(
    plan: Plan, where: Machine, statements: float, commits: int, house: Driven, direct: Direct
) -> Report:
    """All that was found, put together. commits: while the workers ran."""
    speed = plan.sagas / house.seconds
    return Report(
        parameters=plan,
        machine=where,
        sagas_per_second=round(speed, 2),
        messages_per_second=round(house.messages / house.seconds, 1),
        messages_per_saga=round(house.messages / plan.sagas, 2),
        load=house.load,
        alone=house.alone,
        cpu_ms_per_saga=house.cpu_ms_per_saga,
        sql_statements_per_message=round(statements, 2),
        commits_per_message=round((commits - house.own_transactions) / house.all_messages, 2),
        direct=direct,
        price_of_safety=round(direct.sagas_per_second / speed, 2),
    )


def table(report: Report) -> Table:
    """For people."""
    plan, direct = report.parameters, report.direct
    result = Table("", "the house", "direct", box=None)
    result.title, result.title_justify = _title(report), "left"
    rows = [
        ("sagas per second", f"{report.sagas_per_second:.1f}", f"{direct.sagas_per_second:.1f}"),
        (
            "messages per second",
            f"{report.messages_per_second:.0f}",
            f"{direct.messages_per_second:.0f}",
        ),
        ("price of safety (direct / house)", f"{report.price_of_safety:.2f}", ""),
        ("a saga, ms p50 / p95 / p99", "", ""),
        (
            f"  {plan.concurrency} at once, put to finish",
            _ms(report.load.put_to_finish_ms),
            _ms(direct.put_to_finish_ms),
        ),
        (f"  {plan.concurrency} at once, first step to last", _ms(report.load.saga_ms), ""),
        ("  alone, put to finish", _ms(report.alone.put_to_finish_ms), ""),
        ("  alone, first step to last", _ms(report.alone.saga_ms), ""),
        ("CPU per saga, ms", "", ""),
        *_cpu_rows(report.cpu_ms_per_saga, direct.cpu_ms_per_saga),
        ("messages per saga", f"{report.messages_per_saga:g}", f"{plan.messages_per_saga}"),
        ("SQL statements per message, in handlers", f"{report.sql_statements_per_message:.2f}", "0"),
        ("commits per message, with the relays'", f"{report.commits_per_message:.2f}", "0"),
    ]
    for row in rows:
        result.add_row(*row)
    return result


def _title(report: Report) -> str:
    plan, where = report.parameters, report.machine
    return (
        f"{plan.sagas} sagas of {plan.pizzas} pizzas, {plan.processes} worker processes of"
        f" {plan.threads} threads\n{where.cores} cores, {where.cpu}; Python {where.python},"
        f" PostgreSQL {where.postgresql}, RabbitMQ {where.rabbitmq}"
    )


def _ms(durations: Percentiles) -> str:
    return f"{durations.p50:.0f} / {durations.p95:.0f} / {durations.p99:.0f}"


def _cpu_rows(house: Cpu, direct: Cpu) -> list[tuple[str, str, str]]:
    return [
        ("  workers", _each(house.workers), _each(direct.workers)),
        ("  PostgreSQL", _each(house.postgresql), _each(direct.postgresql)),
        ("  RabbitMQ", _each(house.rabbitmq), _each(direct.rabbitmq)),
        ("  the driver", _each(house.driver), _each(direct.driver)),
    ]


def _each(ms: float | None) -> str:
    return "" if ms is None else f"{ms:.1f}"
