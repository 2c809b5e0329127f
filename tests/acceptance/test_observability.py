"""What real workers show: metrics while they serve tables, and the trace of a table over all processes."""

import os
import signal
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from urllib.error import HTTPError
from uuid import UUID

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from prometheus_client.parser import text_string_to_metric_families

from tests.house import WHOLE_STORY, House
from tests.servers import free_port, wait_until

TABLES = 6
Page = dict[tuple[str, ...], float]


# --- Metrics --------------------------------------------------------------------------------------


def scrape(port: int, token: str = "") -> Page:
    """What the workers of a port show: each series by its name and its labels' values."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=10) as response:
        text = response.read().decode()
    page: Page = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        for sample in family.samples:
            name = (sample.name, *(sample.labels[label] for label in sorted(sample.labels)))
            assert name not in page
            page[name] = sample.value
    return page


def is_shown(port: int) -> bool:
    try:
        scrape(port)
    except HTTPError:
        return True
    except OSError:
        return False
    return True


def test_two_worker_processes_show_their_sums_while_they_serve_tables(house: House) -> None:
    port = free_port()
    house.variables["PIZZAHOUSE_METRICS_PORT"] = str(port)
    house.workers(processes=2, threads=3)
    house.wait_until(lambda: is_shown(port), 30, "the workers' metrics are shown")
    commands = [house.start("serve_table", f"TBL{n}", "--detach") for n in range(TABLES)]
    pages = [scrape(port)]

    def served() -> bool:
        pages.append(scrape(port))
        return house.all_sagas("closed", TABLES)

    house.wait_until(served, 60, "all tables are served")
    assert [command.finish().code for command in commands] == [0] * TABLES
    for earlier, later in pairwise(pages):
        fallen = [name for name in earlier if name[0].endswith("_total") and later[name] < earlier[name]]
        assert fallen == []

    def settled() -> bool:
        page = scrape(port)
        confirmed = page["messaging_relay_confirmed_total",]
        return (
            page["messaging_messages_in_progress",] == 0
            and confirmed >= page["messaging_relay_published_total",]
        )

    house.wait_until(settled, 30, "nothing is in progress, and all is confirmed")
    page = scrape(port)
    assert (page["messaging_worker_processes",], page["messaging_worker_threads",]) == (2, 6)
    assert page["sagas_started_total", "table_service"] == TABLES
    assert page["sagas_ended_total", "completed", "table_service"] == TABLES
    assert page["messaging_messages_handled_total", "kitchen.DoPizza", "done"] == 5 * TABLES
    assert page["messaging_handling_seconds_count", "kitchen.DoPizza"] >= 5 * TABLES
    put_by_workers = WHOLE_STORY.total() - 1  # the first is published by the command that puts it
    assert page["messaging_relay_published_total",] >= put_by_workers * TABLES
    done = sum(
        number for name, number in page.items() if name[0].endswith("handled_total") and name[2] == "done"
    )
    assert done == WHOLE_STORY.total() * TABLES


def test_workers_whose_master_is_killed_free_the_port_for_the_next(house: House) -> None:
    port = free_port()
    house.variables |= {"PIZZAHOUSE_METRICS_PORT": str(port), "PIZZAHOUSE_METRICS_TOKEN": "basil"}
    first = house.workers()
    house.wait_until(lambda: is_shown(port), 30, "the workers' metrics are shown")
    os.kill(first.process.pid, signal.SIGKILL)
    house.wait_until(lambda: not is_shown(port), 30, "nobody listens there")
    second = house.workers()
    house.wait_until(lambda: is_shown(port), 30, "the next workers' metrics are shown")
    with pytest.raises(HTTPError) as refused:
        scrape(port)
    refused.value.close()
    assert refused.value.code == HTTPStatus.UNAUTHORIZED
    assert scrape(port, "basil")["messaging_worker_processes",] == 1
    assert second.stop() == 0
    assert not is_shown(port)


# --- A trace --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Span:
    """A span as it was received, and the process that it came from."""

    trace: int
    id: int
    parent: int
    name: str
    process: int
    failed: bool
    attributes: dict[str, str]

    @property
    def message(self) -> str:
        """The id of the message that was handled in it."""
        return self.attributes["messaging.message.id"]


class Collector:
    """An OpenTelemetry collector that keeps what it gets, at an address of its own."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        spans = self.spans

        class Post(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                body = self.rfile.read(int(self.headers["Content-Length"]))
                spans.extend(_read(ExportTraceServiceRequest.FromString(body)))
                self.send_response(HTTPStatus.OK)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                """Nothing: the tests look at what came."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Post)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def has(self, number: int) -> bool:
        return len(self.spans) >= number

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def _read(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for resource_spans in request.resource_spans:
        resource = {each.key: each.value for each in resource_spans.resource.attributes}
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                ids = (span.trace_id, span.span_id, span.parent_span_id)
                yield Span(
                    *(int.from_bytes(each) for each in ids),
                    name=span.name,
                    process=resource["process.pid"].int_value,
                    failed=span.status.code == Status.STATUS_CODE_ERROR,
                    attributes={each.key: each.value.string_value for each in span.attributes},
                )


@pytest.fixture
def collector(house: House) -> Iterator[Collector]:
    """A collector that the house's commands and workers know."""
    collector = Collector()
    house.variables |= {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "NO_PROXY": "127.0.0.1"}
    yield collector
    collector.close()


def assemble(house: House, spans: Sequence[Span], saga: str) -> tuple[Span, dict[str, Span]]:
    """The root, and each other span by the message that was handled in it, of a trace that is whole: it is
    the saga's, each message was handled once, in a span whose parent is that of what caused it."""
    assert {span.trace for span in spans} == {UUID(saga).int}
    [root] = [span for span in spans if not span.parent]
    handled = {span.message: span for span in spans if span is not root}
    assert len(handled) == len(spans) - 1
    assert Counter(span.attributes["message.type"] for span in handled.values()) == WHOLE_STORY
    causes = house.query("SELECT id, causation_id FROM messaging_outboxmessage WHERE saga_id = %s", [saga])
    for row in causes:
        if span := handled.get(str(row["id"])):  # a deadline is not due yet
            cause = handled[str(row["causation_id"])] if row["causation_id"] else root
            assert span.parent == cause.id
    return root, handled


def test_a_table_served_by_a_worker_per_module_is_one_trace_over_all_of_them(
    house: House, collector: Collector
) -> None:
    house.variables["OTEL_BSP_SCHEDULE_DELAY"] = "200"  # milliseconds
    modules = ("orders", "menu", "waiter", "kitchen")
    workers = [house.workers(module, wait=False) for module in modules]
    for each in workers:
        each.wait_until_ready(1)
    served = house.manage_json("serve_table", "TBL1")
    assert served["state"] == "closed"
    house.wait_until(lambda: collector.has(WHOLE_STORY.total() + 1), 30, "all spans have come")

    root, handled = assemble(house, collector.spans, served["saga"])
    assert root.name == "put StartTableService"
    assert [span.name for span in collector.spans if span.failed] == []
    processes = {
        module: {span.process for span in handled.values() if span.attributes["handler"].startswith(module)}
        for module in modules
    }
    for worker, module in zip(workers, modules, strict=True):
        assert processes[module] == {*worker.children()}, module
    assert len({root.process}.union(*processes.values())) == 1 + len(modules)


def test_what_workers_have_not_sent_yet_they_send_before_they_end(house: House, collector: Collector) -> None:
    house.variables["OTEL_BSP_SCHEDULE_DELAY"] = "3600000"
    workers = house.workers(processes=2)
    served = house.manage_json("serve_table", "TBL1")
    assert [span.name for span in collector.spans] == ["put StartTableService"]
    assert workers.stop() == 0
    wait_until(lambda: collector.has(WHOLE_STORY.total() + 1), 10, "all spans have come")
    assemble(house, collector.spans, served["saga"])


def test_a_collector_that_is_away_stops_no_table_and_no_worker(house: House) -> None:
    house.variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{free_port()}"
    workers = house.workers()
    assert house.manage_json("serve_table", "TBL1")["state"] == "closed"
    assert workers.stop() == 0
