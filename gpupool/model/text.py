"""Which text is taken from tenants and hosts, and how other text is shown: one definition for all.

Text is allowed when every character of it is visible or a plain space. Refused are the categories
C* (C0 and C1 control characters, format characters such as bidirectional overrides and zero-width
joiners, surrogates, private use, unassigned), line and paragraph separators, spaces other than
U+0020, and letters and marks that Unicode says show nothing. A terminal or a web page so shows a
name as what it is.
"""

import re

# Printable for Python, yet nothing is seen of them: "default ignorable" letters and marks of Unicode.
# The variation selectors U+FE00 to U+FE0F are not among these: emoji are written with them.
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0\U000e0100-\U000e01ef]")
ALLOWED = "none of them a control, format or other invisible character"


def is_visible(text: str) -> bool:
    """Return whether every character of ``text`` is allowed in names and other short text."""
    return text.isprintable() and not _INVISIBLE.search(text)


def escaped(text: str) -> str:
    r"""Return ``text`` with every character that is not allowed written as in Python, such as \x9b."""
    if is_visible(text):
        return text
    return "".join(
        character if is_visible(character) else character.encode("unicode_escape").decode()
        for character in text
    )


def shown(text: str, longest: int = 80) -> str:
    """Return ``text`` escaped and cut to ``longest`` characters, for messages."""
    start = escaped(text[: longest + 1])
    return start if len(start) <= longest else f"{start[:longest]}..."
