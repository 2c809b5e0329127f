"""The house as tests in this process see it: no pauses, the embedded broker, and PostgreSQL where
one runs, else SQLite. Commands and workers get an environment of their own, from `tests.house`."""

import os
import tempfile
from pathlib import Path

from tests.servers import POSTGRESQL, without_house

# One run's database is not another's: several may use one server at once. The workers of
# pytest-xdist inherit the name, and pytest-django adds an ending for each.
RUN = os.environ.setdefault("TEST_RUN", str(os.getpid()))
SQLITE = Path(tempfile.gettempdir(), f"test_pizzahouse_{RUN}.sqlite3")

for variable in os.environ.keys() - without_house(os.environ).keys():
    del os.environ[variable]
os.environ |= {
    "DATABASE_URL": f"sqlite:///{SQLITE}" if POSTGRESQL.missing else POSTGRESQL.url,
    "DJANGO_SETTINGS_MODULE": "tests.settings",
    "PIZZAHOUSE_PACE": "0",
    "LOG_LEVEL": "WARNING",
}

from pizzahouse.settings import *  # noqa: E402, F403
from pizzahouse.settings import DATABASES  # noqa: E402

# A file also on SQLite: its threads then meet as they do in a real house.
TEST_DATABASE = str(SQLITE) if POSTGRESQL.missing else f"test_pizzahouse_{RUN}"
DATABASES["default"]["TEST"] = {"NAME": TEST_DATABASE}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
