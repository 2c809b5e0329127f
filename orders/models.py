"""The scenarios, for Django to find: each module beside this one that defines a saga."""

import re
from importlib import import_module
from pathlib import Path

DEFINES_A_SAGA = re.compile(r"^class \w+\(Saga\):", re.MULTILINE)

for _file in sorted(Path(__file__).parent.glob("*.py")):
    if DEFINES_A_SAGA.search(_file.read_text(encoding="utf-8")):
        import_module(f"orders.{_file.stem}")
