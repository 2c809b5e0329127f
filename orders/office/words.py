"""What the office says in words: times, and where an outstanding message is."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.timesince import timesince

from pizzahouse.messaging.errors import shortened
from pizzahouse.messaging.outstanding import Outstanding, Why

MOST_NAMED = 10  # messages in one report, after counting those that read alike


def named(messages_of_it: Sequence[Outstanding]) -> str:
    """Messages in a sentence; those that read alike are counted."""
    alike = Counter(f"{each.type} ({whereabouts(each)})" for each in messages_of_it)
    texts = [counted(count, text) for text, count in alike.items()]
    rest = [f"and {len(texts) - MOST_NAMED} more"] if len(texts) > MOST_NAMED else []
    return ", ".join(texts[:MOST_NAMED] + rest)


def whereabouts(message: Outstanding) -> str:
    """Where an outstanding message is, in words."""
    match message.why:
        case Why.SCHEDULED:
            return f"due {clock(message.until or message.since)}"
        case Why.PENDING:
            return "not sent yet"
        case Why.SENT:
            return f"sent {clock(message.since)}, not handled"
        case Why.FAILED | Why.DEAD:
            return f"{message.why}: {shortened(message.error)}"


class SameKind:
    """Messages in one place: those that are like the oldest are named and counted, the rest is counted."""

    def __init__(self, messages: Sequence[Outstanding]) -> None:
        self.all = sorted(messages, key=lambda each: each.since)
        self.first = self.all[0]
        self.since = self.first.since

    @property
    def names(self) -> str:
        """In a sentence: "DoPizza", "3 x DoPizza and 2 more"."""
        alike = sum((each.type, each.error) == (self.first.type, self.first.error) for each in self.all)
        rest = len(self.all) - alike
        return counted(alike, self.first.type) + (f" and {rest:,} more" if rest else "")

    @property
    def error(self) -> str:
        """What the oldest failed of, without the full stop."""
        return shortened(self.first.error).rstrip(". ")

    def verb(self, one: str, many: str) -> str:
        """The word that goes with so many."""
        return one if len(self.all) == 1 else many


def counted(number: int, name: str) -> str:
    """So many of a kind: "DoPizza", "3 x DoPizza"."""
    return name if number == 1 else f"{number} x {name}"


def number_of(number: int, thing: str) -> str:
    """So many things: "1 message", "12 messages"."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def clock(at: datetime, now: datetime | None = None) -> str:
    """A time of today by the clock, another with its date."""
    here = timezone.localtime(at)
    today = here.date() == timezone.localtime(now).date()
    return f"{here:%H:%M:%S}" if today else f"{here:%Y-%m-%d %H:%M:%S}"


def in_words(since: datetime, until: datetime) -> str:
    """How long that is: "23 seconds", "3 minutes", "2 months, 1 week"."""
    if until - since >= timedelta(minutes=1):
        return timesince(since, until).replace("\N{NO-BREAK SPACE}", " ")
    return number_of(max(int((until - since).total_seconds()), 0), "second")


def in_plain(state: str) -> str:
    """A state as it is read."""
    return state.replace("_", " ")
