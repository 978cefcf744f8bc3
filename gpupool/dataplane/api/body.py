"""How the C body of a call or of a message's serving function comes to be."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Forward:
    """Generated: handles are resolved, and the arguments travel as the call's own message."""


@dataclass(frozen=True)
class Hand:
    """Written by hand; ``reason`` says what in it no form of the table says."""

    reason: str


@dataclass(frozen=True)
class Refuse:
    """Generated: the call logs one line and answers that it is not supported, for ``reason``."""

    reason: str


FORWARD = Forward()

Body = Forward | Hand | Refuse

LATER = Hand("Not generated yet.")
