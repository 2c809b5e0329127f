"""Another process, for what is decided when one starts."""

import os
import subprocess
import sys
from pathlib import Path

from tests.servers import without_house

PROJECT = Path(__file__).resolve().parents[2]
SECONDS = 60
SET_UP = "import django; django.setup()\n"


def run(script: str, **variables: str) -> str:
    """Run a script with Django set up, as a house of its own; returns what it printed."""
    environment = without_house(os.environ) | {"DJANGO_SETTINGS_MODULE": "pizzahouse.settings"} | variables
    ran = subprocess.run(
        [sys.executable, "-c", SET_UP + script],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout
