"""What is asked of somebody who mends: always why; for some things more."""

import json
from typing import Any
from uuid import UUID

import msgspec
from django import forms
from django.forms.fields import InvalidJSONInput

from orders.office.actions import skippable, stand_ins
from orders.saga import Saga
from pizzahouse.messaging import messages
from pizzahouse.messaging.models import OutboxMessage

WHY_ASKED = "Why? It is kept in the audit log, with your name."
TEXT = {"rows": 2, "class": "office-text"}
CODE = {"rows": 14, "class": "office-text office-code", "spellcheck": "false"}


class ReasonForm(forms.Form):
    """Why."""

    reason = forms.CharField(
        max_length=500,
        widget=forms.Textarea(TEXT),
        help_text=WHY_ASKED,
        error_messages={"required": "Say why: whoever looks at this later wants to know."},
    )


class MendForm(ReasonForm):
    """The same for one process or message. Before it is done, a preview asks for no reason."""

    def __init__(self, data: Any = None, **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        self.fields["reason"].required = data is None or "do" in data

    def details(self) -> dict[str, Any]:
        """What else was said, in plain values."""
        return {}


class PayloadField(forms.JSONField):
    """The payload of a message, as JSON."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            widget=forms.Textarea(CODE),
            error_messages={"invalid": "This is no JSON. Look for a missing quote, comma or bracket."},
            **kwargs,
        )

    def to_python(self, value: Any) -> Any:
        """The JSON values; what no database keeps, or nobody can read back, is none."""
        try:
            found = super().to_python(value)
            written = json.dumps(found, allow_nan=False, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:  # NaN, half a character, endless digits or brackets
            raise self._invalid() from error
        if messages.has_nul(written):
            raise self._invalid()
        return found

    def bound_data(self, data: Any, initial: Any) -> Any:
        """What is shown again: as it was typed, where it is not valid."""
        try:
            self.to_python(data)
        except forms.ValidationError:
            return InvalidJSONInput(data)
        return super().bound_data(data, initial)

    def _invalid(self) -> forms.ValidationError:
        return forms.ValidationError(self.error_messages["invalid"], code="invalid")

    def prepare_value(self, value: Any) -> Any:
        """Laid out, to be edited; what was no JSON as it was typed."""
        text = isinstance(value, InvalidJSONInput | str)
        return value if text else json.dumps(value, indent=2, ensure_ascii=False)


class EditForm(MendForm):
    """A dead message with another payload."""

    payload = PayloadField(required=False)
    field_order = ["payload", "reason"]

    def details(self) -> dict[str, Any]:
        """The payload."""
        if not self.is_bound:
            return {"payload": self.initial.get("payload")}
        self.full_clean()
        return {"payload": self.cleaned_data["payload"]} if "payload" in self.cleaned_data else {}


class SkipForm(MendForm):
    """The command that is skipped, and the event that stands in for its answer."""

    message = forms.ChoiceField(label="Command to skip")
    event = forms.ChoiceField(label="Go on as if this had come")
    payload = PayloadField(required=False)
    field_order = ["message", "event", "payload", "reason"]

    def __init__(self, saga: Saga, data: Any = None) -> None:
        commands = [
            (str(each.message_id), f"{each.type} ({each.why})") for each in skippable(saga, saga.waits_for())
        ]
        events = [(each.__name__, each.__name__) for each in stand_ins(saga)]
        first: dict[str, Any] = {
            "message": commands[0][0] if commands else "",
            "event": events[0][0] if events else "",
        }
        first["payload"] = _suggestion(first["message"], first["event"])
        super().__init__(data, initial=first)
        self._field("message").choices = commands
        self._field("event").choices = events

    def _field(self, name: str) -> forms.ChoiceField:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        return field

    def details(self) -> dict[str, Any]:
        """Which command, and which event with which payload."""
        names = ("message", "event", "payload")
        if not self.is_bound:
            return {name: self.initial[name] for name in names}
        self.full_clean()
        return {name: self.cleaned_data[name] for name in names if name in self.cleaned_data}


def _suggestion(message: str, event: str) -> dict[str, Any]:
    """The event's fields: what the command says of them, or their defaults."""
    if not (message and event):
        return {}
    command = OutboxMessage.objects.filter(pk=UUID(message)).first()
    said = command.payload if command else {}
    fields = msgspec.structs.fields(messages.contract(event))
    return {field.encode_name: said.get(field.encode_name, _default(field)) for field in fields}


def _default(field: Any) -> Any:
    if field.default is msgspec.NODEFAULT:
        return None
    return json.loads(msgspec.json.encode(field.default))
