"""Texts that stand in for others, and are formed as those are."""

from base64 import b64encode
from collections.abc import Callable, Iterator
from functools import cache
from string import ascii_lowercase, ascii_uppercase, digits

MOST_TRIES = 10_000  # of one way to make up a text
ENOUGH_TRIES = 100  # to see that a way does not lead to what fits
LONGEST = 500  # characters of a text of which each is looked at
NEAR = 26  # code points
Agrees = Callable[[str], bool]


def candidates(text: str, field: str, agrees: Agrees) -> Iterator[str]:
    """Texts that agree: first what reads well, made of the field's name, then what looks like the original,
    but for what its constraints force."""
    numbers = range(1, MOST_TRIES)
    for way in (
        (f"{field}{number}" for number in numbers),
        (f"{field}{number}".rjust(len(text), "x")[-len(text) :] for number in numbers),
        (b64encode(f"{field}{number:05}".encode()).decode() for number in numbers),
        _disguises(text, agrees) if len(text) <= LONGEST else (),
    ):
        leads_somewhere = False
        for tries, each in enumerate(way):
            if agrees(each):
                leads_somewhere = True
                yield each
            elif tries > ENOUGH_TRIES and not leads_somewhere:
                break


def _disguises(text: str, agrees: Agrees) -> Iterator[str]:
    """The text with other letters and digits, wherever another agrees; they count up."""
    alphabets = [_alphabet(text, place, agrees) for place in range(len(text))]
    for number in range(1, MOST_TRIES):
        rest, characters = number, []
        for alphabet in reversed(alphabets):
            rest, which = divmod(rest, len(alphabet))
            characters.append(alphabet[which])
        yield "".join(reversed(characters))


def _alphabet(text: str, place: int, agrees: Agrees) -> str:
    """What may stand in this place where the others stay."""
    before, after = text[:place], text[place + 1 :]
    return "".join(each for each in _like(text[place]) if agrees(before + each + after)) or text[place]


@cache
def _like(character: str) -> str:
    """The characters that may stand for this one: letters of its case, digits; of other scripts its
    neighbours. Nothing for what is neither a letter nor a digit."""
    if not character.isalnum():
        return ""
    for usual in (ascii_lowercase, ascii_uppercase, digits):
        if character in usual:
            return usual
    near = map(chr, range(ord(character) - NEAR, ord(character) + NEAR))
    return "".join(other for other in near if _kind(other) == _kind(character))


def _kind(character: str) -> tuple[bool, ...]:
    return character.isalpha(), character.isdigit(), character.isupper(), character.isascii()
