"""From a process to a test: its history, with everybody's data replaced, as a file for pytest."""

import re
from dataclasses import dataclass, field
from uuid import UUID

from orders.contracts import DeadlinePassed
from orders.office.literals import Literals
from orders.office.redaction import Redaction
from orders.office.replay import FAILED, Put, Told
from orders.saga import Saga
from orders.steps import NEW
from pizzahouse.messaging.errors import MessagingError
from pizzahouse.messaging.models import InboxMessage, OutboxMessage

Status = InboxMessage.Status
SETTLED = (Status.DONE, Status.IGNORED)
OVERTAKEN = "it went on before this deadline passed"  # how `Saga.receive` begins to say so
FRAME = re.compile(r'^  File "(?:[^"\n]*[/\\])?([\w.-]+\.py)", line \d+, in (\w+)$', re.MULTILINE)


class NotKept(MessagingError):
    """The first messages of this process are not kept any more (see `manage.py prune_messages`), so it cannot
    be told again from its beginning."""


@dataclass
class Came:
    """A message that came to the process, as its rows tell."""

    claim: InboxMessage
    payload: object
    puts: list[OutboxMessage]
    settled: list[UUID] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        return self.claim.status not in SETTLED


def as_test(saga: Saga) -> str:
    """The text of a test file that tells this process's history again, and passes where the code makes of
    it what it did then, and handles what it failed to handle. Raises NotKept, Unredactable."""
    came = _history(saga)
    redaction = Redaction()
    redaction.number(saga.pk)
    for each in came:
        redaction.see(each.claim.type, each.payload)
        for put in each.puts:
            redaction.see(put.type, put.payload)
    told = [_told(each, saga, redaction) for each in came]
    literals = Literals(told)
    entries = [
        f"    # {number}. {each.type}: {_in_words(came[number - 1], each)}\n    {literals.write(each, 4)},\n"
        for number, each in enumerate(told, 1)
    ]
    label = saga.label()
    return (
        f'"""A {label} is told again what one was told, and does what it did.\n\n'
        'Names, texts, ids and times are made up; numbers are as they were.\n"""\n\n'
        "import pytest\n\n"
        f"from orders.office.replay import Put, Told, replay\n\n{''.join(literals.named)}"
        f"HISTORY = [\n{''.join(entries)}{_not_told(saga)}]\n\n\n"
        "@pytest.mark.django_db\n"
        f"def test_a_{label}_goes_as_it_went() -> None:\n"
        f'    differences = replay("{label}", HISTORY)\n'
        '    assert not differences, "\\n".join(differences)\n'
    )


def file_name(saga: Saga) -> str:
    """What to call that file."""
    return f"test_{saga.label()}_{saga.state}.py"


# --- What the rows tell ---------------------------------------------------------------------------


def _history(saga: Saga) -> list[Came]:
    """What came to it, in the order in which it was handled; last what was not. Raises NotKept."""
    # First what was handled: then what that has put is there, whatever happens meanwhile.
    claims = list(InboxMessage.objects.filter(saga_id=saga.pk).order_by("handled_at", "id"))
    letters = {row.id: row for row in OutboxMessage.objects.filter(saga_id=saga.pk).order_by("id")}
    caused: dict[UUID | None, list[OutboxMessage]] = {}
    for row in letters.values():
        if row.type != DeadlinePassed.__name__:  # the clock says when one is set anew
            caused.setdefault(row.causation_id, []).append(row)
    handled: list[Came] = []
    failed: list[Came] = []
    settled: list[UUID] = []
    for claim in claims:
        if not _came(claim, saga):
            if claim.status in SETTLED and not claim.detail.startswith("withdrawn: "):
                settled.append(claim.message_id)
            continue
        if claim.status == Status.IGNORED and claim.message_id not in letters:
            continue  # taken back in vain, and deleted: it changed nothing
        came = Came(claim, _payload(claim, letters), caused.get(claim.message_id, []))
        if came.failed:
            failed.append(came)
            continue
        came.settled, settled = settled, []
        handled.append(came)
    if not handled or handled[0].claim.from_state != NEW:
        raise NotKept(str(saga.pk))
    return [*handled, *failed]


def _came(claim: InboxMessage, saga: Saga) -> bool:
    """Whether the process itself got it, and not a module, nor somebody who then settled it by hand."""
    by_hand = claim.status == Status.IGNORED and not claim.from_state
    return claim.handler == f"{saga.address()}.{claim.type}" and not by_hand


def _payload(claim: InboxMessage, letters: dict[UUID, OutboxMessage]) -> object:
    """As it was handled last: what failed is kept as it came, and may have been edited."""
    if isinstance(claim.message, dict) and "payload" in claim.message:
        return claim.message["payload"]
    if claim.message_id in letters:
        return letters[claim.message_id].payload
    raise NotKept(f"{claim.type} {claim.message_id}")


# --- What is written ------------------------------------------------------------------------------


def _told(came: Came, saga: Saga, redaction: Redaction) -> Told:
    claim = came.claim
    puts = [
        (redaction.number(each.id), each, redaction.redact(each.type, each.payload)) for each in came.puts
    ]
    return Told(
        message=redaction.number(claim.message_id),
        type=claim.type,
        payload=redaction.redact(claim.type, came.payload),
        status=FAILED if came.failed else claim.status,
        step=claim.step,
        from_state=claim.from_state,
        to_state=claim.to_state,
        deadline=_counts(claim, saga),
        settled=[redaction.number(each) for each in came.settled],
        puts=[Put(number, put.type, put.destination, payload) for number, put, payload in puts],
    )


def _in_words(came: Came, told: Told) -> str:
    return f"{came.claim.status}: {_error(came.claim)}; it must be handled" if came.failed else str(told)


def _counts(claim: InboxMessage, saga: Saga) -> bool:
    """Whether it was the deadline of the state it came in."""
    if claim.type != DeadlinePassed.__name__:
        return False
    if claim.status not in SETTLED:
        return claim.message_id == saga.deadline
    return not claim.detail.startswith(OVERTAKEN)


def _not_told(saga: Saga) -> str:
    """Comments on what the modules could not handle: that is not the process's to handle."""
    failing = InboxMessage.objects.filter(saga_id=saga.pk).exclude(status__in=SETTLED).order_by("id")
    elsewhere = [each for each in failing if each.handler != f"{saga.address()}.{each.type}"]
    return "".join(f"    # Not told: {each.handler} is {each.status}: {_error(each)}\n" for each in elsewhere)


def _error(claim: InboxMessage) -> str:
    """What kind of error it was, and where; its words may be somebody's data."""
    kind = re.match(r"\w+", claim.error)
    # What stands behind the frames are its words, in which anything may look like one.
    frames: list[tuple[str, str]] = FRAME.findall(
        claim.traceback.rpartition(claim.error.removesuffix(": "))[0]
    )
    where = f" in {frames[-1][1]} ({frames[-1][0]})" if frames else ""
    return (kind.group() if kind else "an error") + where
