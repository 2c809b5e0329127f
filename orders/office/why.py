"""Why a process waits, in a sentence or two: the answer to whoever opens its page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from django.conf import settings

from orders.contracts import Cancel, DeadlinePassed, Decide
from orders.office.words import SameKind, clock, in_plain, in_words, number_of
from orders.saga import COMPLETED, OVERDUE, Saga
from orders.steps import NEW
from pizzahouse.messaging import outstanding
from pizzahouse.messaging.envelope import queue_name
from pizzahouse.messaging.errors import InvalidMessage, UnknownMessage, WorkerDied
from pizzahouse.messaging.outstanding import Outstanding
from pizzahouse.messaging.queues import Queue

Tone = Literal["good", "calm", "warn", "bad"]
Queues = Mapping[str, Queue] | None  # by address; None where the broker does not answer
Place = outstanding.Why

SOON = timedelta(seconds=10)  # what has taken no longer is on its way
LONG = timedelta(minutes=1)  # nothing that is well takes so long between two processes
ASKED = {"ordering": " for their order", "billing": " to pay"}  # what guests are asked in a state
MEND: dict[str, str] = {  # what to do about an error
    InvalidMessage.__name__: "Edit the message and send it again, or discard it.",
    UnknownMessage.__name__: "Deploy the code that knows this message, then retry.",
    WorkerDied.__name__: "Look at the worker's last log lines, mend the cause, then retry.",
}
START_BROKER = "Start RabbitMQ, or correct RABBITMQ_URL; what waits is then sent by itself."
START_RELAY = "Start a worker, whose relay sends it: manage.py rundramatiq"


@dataclass(frozen=True)
class Why:
    """The answer."""

    text: str
    advice: str  # what to do; empty where nothing is to be done
    tone: Tone

    def and_also(self, text: str, tone: Tone = "calm") -> "Why":
        """With another sentence."""
        return replace(
            self, text=f"{self.text} {text}".strip(), tone=tone if self.tone == "calm" else self.tone
        )


def why(saga: Saga, waiting: Sequence[Outstanding], queues: Queues, now: datetime) -> Why:
    """Why this process waits, from what it waits for (`Saga.waits_for`) and what the broker tells of the
    queues (`queues.look`). Trouble goes before what is on its way."""
    look = _Look(saga, queues, now)
    dead = [each for each in waiting if each.why == Place.DEAD]
    if saga.outcome:
        return look.ended(dead)
    if saga.state in saga.for_humans:
        return look.stopped(dead)
    answers = look.at(waiting) or [look.nowhere()]
    answer = next((each for each in answers if each.tone in ("bad", "warn")), answers[0])
    return answer if saga.state != NEW else answer.and_also("It has not begun yet.")


class _Look:
    """A look at one process."""

    def __init__(self, saga: Saga, queues: Queues, now: datetime) -> None:
        self.saga, self.queues, self.now = saga, queues, now

    # --- It goes on no more, or not by itself -----------------------------------------------------

    def ended(self, dead: Sequence[Outstanding]) -> Why:
        saga, outcome = self.saga, self.saga.outcome
        how = "It was completed" if outcome == COMPLETED else f"It ended {outcome}"
        at = saga.finished_at or saga.updated_at
        because = f": {saga.because}" if saga.because else ""
        text = f"{how} {self._at(at)}, after {in_words(saga.started_at, at)}{because}."
        if dead:
            rest = SameKind(dead)
            return Why(text, "Mend the cause and retry, or discard what is dead.", "warn").and_also(
                f"{rest.names} {rest.verb('is', 'are')} dead all the same: {rest.error}."
            )
        return Why(text, "", "good" if outcome == COMPLETED else "calm")

    def stopped(self, dead: Sequence[Outstanding]) -> Why:
        saga = self.saga
        where = f" in {in_plain(saga.stopped_in)}" if saga.stopped_in else ""
        because = f": {saga.because}" if saga.because else ""
        since = f"{clock(saga.updated_at, self.now)} ({self._ago(saga.updated_at)})"
        told = (Decide, saga.state) in saga.steps()
        decide = "decide: try again, or write off." if told else "tell the process how to go on."
        answer = Why(
            f"It needs the manager: it stopped{where} at {since}{because}.", decide.capitalize(), "warn"
        )
        if dead:
            died = self.dead(SameKind(dead))
            return Why(f"{answer.text} {died.text}", f"Mend the cause, then {decide}", "bad")
        return answer

    # --- It waits for a message -------------------------------------------------------------------

    def at(self, waiting: Sequence[Outstanding]) -> list[Why]:
        """An answer for each place where messages of it are, the worst place first."""
        places: dict[Place, Callable[[SameKind], Why]] = {
            Place.DEAD: self.dead,
            Place.FAILED: self.failing,
            Place.PENDING: self.pending,
            Place.SENT: self.sent,
            Place.SCHEDULED: self.scheduled,
        }
        found = {place: [each for each in waiting if each.why == place] for place in places}
        return [tell(SameKind(found[place])) for place, tell in places.items() if found[place]]

    def dead(self, some: SameKind) -> Why:
        attempts = number_of(max(each.attempts for each in some.all), "attempt")
        mend = MEND.get(some.error.partition(":")[0], "Mend the cause, then retry.")
        died = Why(f"{some.names} {some.verb('is', 'are')} dead after {attempts}: {some.error}.", mend, "bad")
        if self.now - some.since <= SOON:
            return died
        waited = f"waited for somebody for {in_words(some.since, self.now)}."
        return died.and_also(f"{some.verb('It has', 'They have')} {waited}")

    def failing(self, some: SameKind) -> Why:
        worst = max(some.all, key=lambda each: each.attempts)
        due = max((each.until for each in some.all if each.until), default=None)
        if not worst.attempts:
            begun = f"A worker began with {some.names} {self._ago(some.since)} and has not come to an end."
            again = f"Should it have died, the next attempt is {self._at(due)}." if due else ""
            return Why(begun, "", "warn" if self.now - some.since > LONG else "calm").and_also(again)
        failed = f"{some.names} failed at attempt {worst.attempts}: {some.error}."
        if due is None or self.now - due > SOON:
            late = f"The next attempt was due {self._ago(due)}: no relay has sent it." if due else ""
            return Why(f"{failed} {late}".strip(), START_RELAY, "bad")
        again = f"{some.verb('It is', 'They are')} tried again {self._at(due)} at the latest."
        return Why(
            f"{failed} {again}", "It goes on by itself once the cause is mended; a retry is faster.", "warn"
        )

    def pending(self, some: SameKind) -> Why:
        held = in_words(some.since, self.now)
        if self.queues is not None and self.now - some.since <= SOON:
            was, is_next = some.verb("was", "were"), some.verb("is", "are")
            text = f"{some.names} {was} put {self._ago(some.since)}, and {is_next} sent next."
            return Why(text, "", "calm")
        text = f"{some.names} {some.verb('has', 'have')} been in the outbox for {held}"
        if self.queues is None:
            return Why(f"{text}: the broker does not answer.", START_BROKER, "bad")
        it = some.verb("it", "them")
        late = f"{text}: no relay has sent {it}, or the broker does not confirm {it}."
        return Why(late, START_RELAY, "bad")

    def sent(self, some: SameKind) -> Why:
        address = some.first.destination.partition(".")[0]
        text = f"{some.names} {some.verb('was', 'were')} sent {self._ago(some.since)}"
        if self.queues is None:
            text += (
                f" and not handled yet; the broker does not answer, so nobody knows how long the {address}"
            )
            return Why(f"{text} queue is.", START_BROKER, "bad")
        queue = self.queues.get(address) or Queue(address, 0, 0)
        holds = f"holds {number_of(queue.messages, 'message')}" if queue.messages else "is empty"
        text += f"; the {address} queue {holds}"
        if not queue.consumers:
            start = f"Start a worker for it: manage.py rundramatiq --queues {queue_name(address)}"
            return Why(f"{text} and nobody consumes it.", start, "bad")
        slow: Tone = "warn" if self.now - some.since > LONG else "calm"
        at_it = number_of(queue.consumers, "consumer") + (" is" if queue.consumers == 1 else " are")
        if queue.messages:
            return self._with_delay(Why(f"{text} and {at_it} at it.", "", slow))
        fetched = f"{text}: a worker has fetched it, or it was lost. {self._sent_again(some.since)}"
        return self._with_delay(Why(fetched, "", slow))

    def scheduled(self, some: SameKind) -> Why:
        until = max(each.until or each.since for each in some.all)
        due = f"{some.names} {some.verb('is', 'are')} due"
        if self.saga.state in self.saga.for_guests:
            return self._with_delay(Why(f"{self._asked()}; {due} {self._at(until)}.", "", "calm"))
        state = in_plain(self.saga.state)
        text = f"It is {state} until {clock(until, self.now)}: {due} {some.verb('then', 'until then')}."
        return self._with_delay(Why(text, "", "calm"))

    # --- It waits for nothing that is known here --------------------------------------------------

    def nowhere(self) -> Why:
        saga = self.saga
        if saga.state in saga.for_guests:
            return self._with_delay(
                Why(f"{self._asked()}, and have not answered yet.", "", "calm"), always=True
            )
        can_cancel = (Cancel, saga.state) in saga.steps()
        advice = "A retry finds nothing to send. Look what came last in the timeline"
        lost = Why(
            "Every message of it was handled, and none is on its way: an answer is still to come from"
            " outside, or was never put.",
            f"{advice}, or cancel it." if can_cancel else f"{advice}.",
            "warn" if saga.deadline_at else "bad",
        )
        return self._with_delay(lost, always=True)

    def _asked(self) -> str:
        return f"The guests were asked{ASKED.get(self.saga.state, '')} {self._ago(self.saga.updated_at)}"

    # --- Times ------------------------------------------------------------------------------------

    def _with_delay(self, answer: Why, *, always: bool = False) -> Why:
        """With what its deadline means: where it has passed, and always where nothing else will happen."""
        saga, at = self.saga, self.saga.deadline_at
        if at is None:
            return answer
        if self.now - at > SOON:
            return answer.and_also(
                f"Its deadline passed {self._ago(at)}, and nobody has handled that.", "warn"
            )
        if saga.standing == OVERDUE:
            asked = f"It is overdue: it asked again {self._ago(saga.updated_at)}"
            return answer.and_also(f"{asked}, and {self._then(at)}.", "warn")
        return answer.and_also(f"At {clock(at, self.now)} it asks again.") if always else answer

    def _then(self, at: datetime) -> str:
        step = self.saga.steps().get((DeadlinePassed, self.saga.state))
        if step is None:
            return f"asks once more at {clock(at, self.now)}"
        return f"goes on to {' or '.join(map(in_plain, step.targets))} at {clock(at, self.now)}"

    def _sent_again(self, since: datetime) -> str:
        pause: Any = settings.MESSAGING["RESEND_SECONDS"]
        first = since + timedelta(seconds=pause)
        if first > self.now:
            return f"It is sent again by itself, not before {clock(first, self.now)}."
        return "It is sent again by itself, after ever longer pauses."

    def _ago(self, at: datetime) -> str:
        return "just now" if self.now - at < timedelta(seconds=1) else f"{in_words(at, self.now)} ago"

    def _at(self, at: datetime | None) -> str:
        return f"at {clock(at, self.now)}" if at else ""
