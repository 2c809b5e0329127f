"""Worker processes count in a folder of their group, and one more process shows the sums."""

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pizzahouse.messaging import exposition
from tests.servers import free_port, kill_group, wait_until, without_house
from tests.unit import elsewhere

COUNT = """
from pizzahouse.messaging import metrics
metrics.workers.set(1)
metrics.end("tests.SendParcel", "done", metrics.begin())
metrics.begin()
"""
SERVE = """
from pizzahouse.messaging import exposition
exposition.prepare()
exposition.serve()
"""


def read(page: bytes) -> dict[str, float]:
    """The sum of each name's series."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0) + sample.value
    return found


# --- The sums -------------------------------------------------------------------------------------


def test_what_processes_have_done_stays_counted_when_they_end_and_what_they_were_does_not(
    tmp_path: Path,
) -> None:
    folder = str(tmp_path / "made by the first")
    for _ in range(2):
        elsewhere.run(COUNT, PROMETHEUS_MULTIPROC_DIR=folder)
    told = read(exposition.of_processes(folder))
    assert told["messaging_messages_handled_total"] == 2
    assert told["messaging_handling_seconds_count"] == 2
    assert told.get("messaging_messages_in_progress", 0) == 0
    assert told.get("messaging_worker_processes", 0) == 0


def test_what_a_process_that_lives_is_doing_is_told(tmp_path: Path) -> None:
    folder = str(tmp_path)
    elsewhere.run(COUNT, PROMETHEUS_MULTIPROC_DIR=folder)
    with running(COUNT + "import sys; print('counted', flush=True); sys.stdin.read()", folder) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"counted\n"
        told = read(exposition.of_processes(folder))
    assert told["messaging_worker_processes"] == 1
    assert told["messaging_messages_in_progress"] == 1
    assert told["messaging_messages_handled_total"] == 2


@contextmanager
def running(script: str, folder: str = "", **variables: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A script that runs with Django set up, until the end of the block."""
    environment = without_house(os.environ) | {"DJANGO_SETTINGS_MODULE": "pizzahouse.settings"} | variables
    process = subprocess.Popen(
        [sys.executable, "-c", elsewhere.SET_UP + script],
        cwd=elsewhere.PROJECT,
        env=environment | ({"PROMETHEUS_MULTIPROC_DIR": folder} if folder else {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            kill_group(process)


# --- The folders ----------------------------------------------------------------------------------


def test_what_a_group_left_behind_is_removed_when_the_next_one_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    left, others = tmp_path / "messaging-metrics-left", tmp_path / "somebody-elses"
    for folder in (left, others):
        folder.mkdir()
    (left / "counter_1.db").touch()
    assert exposition.prepare() == "pizzahouse.messaging.exposition:serve"
    assert {*tmp_path.iterdir()} == {others, Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])}
    assert os.environ["PROMETHEUS_MULTIPROC_DIR"] != str(left)


def test_the_folder_of_a_group_that_runs_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    exposition.prepare()
    exposition.prepare()
    assert len([*tmp_path.iterdir()]) == 2


# --- The page -------------------------------------------------------------------------------------


def ask(port: int, path: str = "/metrics", authorization: str = "") -> tuple[int, bytes]:
    """The answer's status and its body."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
    if authorization:
        request.add_header("Authorization", authorization)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()


def can_connect(address: str, port: int) -> bool:
    """Whether somebody listens there. Each 127.x.y.z is an address of this machine."""
    with socket.socket() as client:
        return client.connect_ex((address, port)) == 0


@contextmanager
def served(tmp_path: Path, token: str = "") -> Iterator[int]:
    """Metrics are shown at a port."""
    port = free_port()
    variables = {"PIZZAHOUSE_METRICS_PORT": str(port), "TMPDIR": str(tmp_path)}
    if token:
        variables["PIZZAHOUSE_METRICS_TOKEN"] = token
    with running(SERVE, **variables):
        wait_until(lambda: can_connect("127.0.0.1", port), 30, "the metrics are shown")
        yield port


def test_without_a_token_this_machine_alone_sees_the_page(tmp_path: Path) -> None:
    with served(tmp_path) as port:
        assert ask(port) == (HTTPStatus.OK, b"")
        assert ask(port, "/")[0] == HTTPStatus.NOT_FOUND
        assert ask(port, "/metrics?name=x")[0] == HTTPStatus.OK
        assert not can_connect("127.0.0.2", port)


def test_with_a_token_all_who_know_it_see_the_page(tmp_path: Path) -> None:
    with served(tmp_path, token="basil") as port:
        assert ask(port)[0] == HTTPStatus.UNAUTHORIZED
        assert ask(port, authorization="Bearer oregano")[0] == HTTPStatus.UNAUTHORIZED
        status, page = ask(port, authorization="Bearer basil")
        assert (status, page) == (HTTPStatus.OK, b"")
        assert b"basil" not in ask(port)[1]
        assert can_connect("127.0.0.2", port)
