"""The architecture is kept by import-linter; here it is shown that it would notice."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The packages and the contracts, to be spoilt."""
    for package in ("pizzahouse", "orders", "menu", "waiter", "kitchen"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_the_layers_are_kept(copy: Path) -> None:
    result = lint(copy)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("kitchen/actors.py", "import waiter.contracts"),
        ("menu/contracts.py", "import kitchen.contracts"),
        ("orders/saga.py", "import kitchen.actors"),
        ("orders/table_service.py", "import waiter.models"),
        ("waiter/actors.py", "import orders.saga"),
        ("pizzahouse/messaging/relay.py", "import kitchen.contracts"),
    ],
)
def test_an_import_across_the_layers_is_refused(copy: Path, file: str, line: str) -> None:
    with (copy / file).open("a") as module:
        module.write(f"\n{line}\n")
    result = lint(copy)
    assert result.returncode == 1
    assert "BROKEN" in result.stdout
