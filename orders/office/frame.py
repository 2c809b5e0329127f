"""What the office's own pages have in common."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.html import format_html

from pizzahouse.messaging.admin import ReadOnlyAdmin


def page(request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
    """A page in the frame of the admin."""
    return render(request, template, {**admin.site.each_context(request), "title": title, **context})


def badge(text: str, tone: str) -> str:
    """A word in a coloured box; its colour says nothing that the word does not."""
    return format_html('<span class="office-badge office-{}">{}</span>', tone, text)


class OfficeAdmin(ReadOnlyAdmin):
    """A model whose rows have a page of the office's own."""

    def page(self, request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
        """One of its pages."""
        return page(request, template, title, opts=self.opts, **context)

    def found(self, request: HttpRequest, object_id: str) -> Any:
        """The row of this id, for somebody who may see it. Raises Http404, PermissionDenied."""
        row = self.get_object(request, unquote(object_id))
        if row is None:
            raise Http404(f"There is no {self.opts.verbose_name} of this id.")
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        return row
