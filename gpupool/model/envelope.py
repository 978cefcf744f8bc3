"""Signed messages between agents and conductors, and what introduces a host's keys.

What is signed are the fields of Envelope, the body as the text that is sent: nothing is written again
to be checked. See gpupool.rpc.keys.
"""

from dataclasses import dataclass
from enum import StrEnum

from gpupool.model.host_key import KeyState
from gpupool.model.report import DesiredState


class Purpose(StrEnum):
    """What a message is for; a message of one purpose is never taken for another."""

    # From an agent.
    INTRODUCTION = "introduction"
    SUCCESSION = "succession"
    REPORT = "report"
    # From a conductor; all but LOOK answer a message, and have its sequence number.
    WELCOME = "welcome"
    DESIRED = "desired"
    STALE = "stale"
    LOOK = "look"


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """One signed message to or from ``host``.

    ``key`` names the key that signed: a host's by its fingerprint, a conductor's by itself.
    ``sequence`` grows with every message signed by a host's key; an answer has that of the question,
    and LOOK the generation that it tells of. ``signature`` is base64.
    """

    purpose: Purpose
    host: str
    key: str
    sequence: int
    body: str
    signature: str


@dataclass(frozen=True, kw_only=True)
class Introduction:
    """A host's new public keys, base64; the message is signed with the first.

    ``succession`` is a message of the host's present key whose body is the new fingerprint; with it the
    new keys take the place of the present ones.
    """

    signing_key: str
    sealing_key: str
    pool: str
    succession: Envelope | None = None


@dataclass(frozen=True, kw_only=True)
class Welcome:
    """What became of an introduction, and the public keys that conductors sign with, now and next."""

    state: KeyState
    conductor_keys: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Instructions:
    """What DESIRED and LOOK hold, sealed to the host; ``conductor_keys`` as in Welcome."""

    desired: DesiredState
    conductor_keys: tuple[str, ...]
