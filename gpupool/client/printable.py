"""What comes from the server as a terminal may show it: other users and hosts wrote parts of it.

The server refuses such text where it is given; what was stored before, and what something between
here and the server says, is made harmless here. A client host has no server packages, so this is
the rule of gpupool.model.text again.
"""

from typing import Any


def text(given: str) -> str:
    """Return ``given`` with control, bidirectional and other hidden characters written as escapes."""
    if given.isprintable():
        return given
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in given
    )


def item(value: Any) -> Any:
    """Return a JSON value with every text in it made printable."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, list):
        return [item(each) for each in value]
    if isinstance(value, dict):
        return {text(key): item(each) for key, each in value.items()}
    return value
