"""One definition of text that shows what it is; the client, which imports nothing of ours, agrees."""

import sys
import unicodedata

import pytest

from gpupool.client import printable
from gpupool.model import text

EVERYTHING = [chr(point) for point in range(sys.maxunicode + 1)]
HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def test_no_hidden_category_is_visible() -> None:
    for character in EVERYTHING:
        if unicodedata.category(character) in HIDDEN:
            assert not text.is_visible(character), hex(ord(character))


def test_what_is_escaped_is_visible() -> None:
    escaped = text.escaped("".join(EVERYTHING))
    assert text.is_visible(escaped)
    assert escaped.startswith("\\x00\\x01")


def test_the_client_lets_nothing_pass_that_steers_a_terminal() -> None:
    for character in EVERYTHING:
        if unicodedata.category(character) in HIDDEN:
            assert printable.text(character) == text.escaped(character)


@pytest.mark.parametrize("good", ["", " ", "größe", "機械", "a b", "💩", "❤\ufe0f", "e\u0301"])
def test_text_that_shows_is_as_it_was(good: str) -> None:
    assert text.is_visible(good)
    assert text.escaped(good) == good == printable.text(good)


def test_messages_show_the_beginning() -> None:
    assert text.shown("x" * 10**6) == "x" * 80 + "..."
    assert text.shown("\0" * 10**6) == "\\x00" * 20 + "..."
