"""The CPU time of other processes, as Linux shows it in /proc; None where it does not."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

PROC = Path("/proc")
LISTENING = "0A"

Reading = dict[str, dict[int, float]]  # by part and process, in seconds


def read(parts: Mapping[str, Iterable[int]]) -> Reading:
    """The CPU seconds, user and system, that each process of each part has used so far."""
    return {
        part: {pid: used for pid in pids if (used := _seconds(pid)) is not None}
        for part, pids in parts.items()
    }


def per_saga(before: Reading, after: Reading, sagas: int) -> dict[str, float | None]:
    """Milliseconds per saga of each part between two readings; None for a part without processes."""
    return {
        part: round(sum(used - before[part].get(pid, 0.0) for pid, used in now.items()) * 1000 / sagas, 2)
        if now
        else None
        for part, now in after.items()
    }


def _seconds(pid: int) -> float | None:
    stat = _stat(pid)
    # proc(5): fields 14 and 15, utime and stime; the third is the first after the name
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK") if stat else None


def _stat(pid: int) -> list[str]:
    """The fields behind the name, which may hold spaces and parentheses itself."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _name(pid: int) -> str:
    try:
        return (PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        return ""


def _all() -> Iterator[int]:
    if PROC.is_dir():
        yield from (int(each.name) for each in PROC.iterdir() if each.name.isdigit())


def groups(leaders: Iterable[int]) -> list[int]:
    """All processes of these process groups."""
    wanted = {str(leader) for leader in leaders}
    return [pid for pid in _all() if (stat := _stat(pid)) and stat[2] in wanted]


def named(name: str, pids: Iterable[int]) -> list[int]:
    """Those that run this program: a server on another machine has its ids there, not here."""
    return [pid for pid in pids if _name(pid) == name]


def rabbitmq(port: int) -> list[int]:
    """RabbitMQ's process: the Erlang machine that listens on this port, or the only one there is."""
    machines = named("beam.smp", _all())
    if len(machines) > 1:
        sockets = _listening(port)
        machines = [pid for pid in machines if not sockets.isdisjoint(_open_files(pid))]
    return machines


def _listening(port: int) -> set[str]:
    found = set()
    for table in (PROC / "net/tcp", PROC / "net/tcp6"):
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            fields = line.split()
            if fields[1].endswith(f":{port:04X}") and fields[3] == LISTENING:
                found.add(f"socket:[{fields[9]}]")
    return found


def _open_files(pid: int) -> Iterator[str]:
    try:
        for each in (PROC / str(pid) / "fd").iterdir():
            yield str(each.readlink())
    except OSError:  # another user's, or just closed
        return
