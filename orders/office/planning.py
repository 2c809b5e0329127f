"""What a page asks is planned for what it asks. Workers' statements are prepared, and after a while planned
once for whatever may come: with a text that is searched for, that plan can be a thousand times as slow."""

from collections.abc import Callable
from typing import Any

from django.db import connection
from django.http import HttpRequest, HttpResponse

View = Callable[[HttpRequest], HttpResponse]


def planned_anew(get_response: View) -> View:
    """A middleware: while it answers, PostgreSQL plans each statement with its values."""

    def answer(request: HttpRequest) -> HttpResponse:
        if connection.vendor != "postgresql":
            return get_response(request)
        with connection.execute_wrapper(_unprepared):
            return get_response(request)

    return answer


def _unprepared(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    link = context["connection"].connection
    before, link.prepare_threshold = link.prepare_threshold, None
    try:
        return execute(sql, params, many, context)
    finally:
        link.prepare_threshold = before
