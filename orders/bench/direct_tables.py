"""The driver of the direct flow."""

import os
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from orders.bench import cpu, direct, load
from orders.bench.figures import Cpu, Direct, Plan, percentiles
from orders.bench.servers import broker_port
from orders.cli import note_console


def drive(plan: Plan, workers: Sequence[int]) -> Direct:
    """Serve the tables of the plan. workers: their process groups."""
    with TemporaryDirectory(prefix="pizzahouse-bench-") as folder:
        finished = Path(folder) / "finished"
        finished.touch()
        return _Driver(plan, finished).run(workers)


class _Driver:
    def __init__(self, plan: Plan, finished: Path) -> None:
        self.plan = plan
        self.finished = finished
        self.turn = count()

    def run(self, workers: Sequence[int]) -> Direct:
        plan = self.plan
        self._serve("warming up", plan.warm_up)
        parts = {
            "workers": cpu.groups(workers),
            "rabbitmq": cpu.rabbitmq(broker_port()),
            "driver": [os.getpid()],
        }
        before = cpu.read(parts)
        began = time.perf_counter()
        self._serve("under load", plan.sagas)
        seconds = time.perf_counter() - began
        used = cpu.per_saga(before, cpu.read(parts), plan.sagas)
        return Direct(
            sagas_per_second=round(plan.sagas / seconds, 2),
            messages_per_second=round(plan.sagas * plan.messages_per_saga / seconds, 1),
            put_to_finish_ms=percentiles(self._durations()[-plan.sagas :]),
            cpu_ms_per_saga=Cpu(**used),
        )

    def _serve(self, what: str, sagas: int) -> None:
        note_console().print(f"Direct: {sagas} sagas, {what}", markup=False)
        load.run(sagas, self.plan.concurrency, self._begin, self._finished)

    def _begin(self) -> None:
        saga = {
            "id": str(uuid4()),
            "table": "BENCH",
            "pizzas": self.plan.pizzas,
            "process": next(self.turn) % self.plan.processes,
            "finished": str(self.finished),
            "began": time.time(),
        }
        direct.send("StartTableService", saga)

    def _finished(self) -> int:
        return self.finished.stat().st_size // direct.RECORD.size

    def _durations(self) -> list[float]:
        return [seconds for (seconds,) in direct.RECORD.iter_unpack(self.finished.read_bytes())]
