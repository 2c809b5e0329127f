"""Whose processor time is counted: found in /proc, here in one of our own making."""

from pathlib import Path

import pytest

from orders.bench import cpu


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cpu, "PROC", tmp_path)
    return tmp_path


def process(proc: Path, pid: int, name: str, group: int) -> None:
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "comm").write_text(f"{name}\n")
    (folder / "stat").write_text(f"{pid} ({name} (x)) S 1 {group} {group} 0 -1 0 0 0 0 0 7 8 0 0")


def test_the_only_erlang_machine_is_rabbitmq(proc: Path) -> None:
    process(proc, 10, "beam.smp", 10)
    process(proc, 11, "python", 11)
    assert cpu.rabbitmq(5672) == [10]


def test_all_processes_of_a_group_are_found_whatever_their_names(proc: Path) -> None:
    process(proc, 20, "python", 20)
    process(proc, 21, "a) name", 20)
    process(proc, 22, "python", 22)
    assert sorted(cpu.groups([20])) == [20, 21]


def test_without_a_proc_nothing_is_found(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "PROC", proc / "none")
    assert cpu.rabbitmq(5672) == []
    assert cpu.groups([1]) == []
