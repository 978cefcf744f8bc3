"""The keys of a host: what it signs its reports with, and what its secrets are sealed to."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

# Of a host's two public keys: see rpc.keys.fingerprint.
FINGERPRINT = "SHA256:[A-Za-z0-9+/]{43}"


def is_fingerprint(text: str) -> bool:
    """Return whether a key may be called ``text``."""
    return re.fullmatch(FINGERPRINT, text) is not None


class KeyState(StrEnum):
    """Whether a host's key is believed.

    ``pending`` waits for the operator, ``admitted`` is the host's one key that counts, ``revoked`` was
    and never will be again.
    """

    PENDING = "pending"
    ADMITTED = "admitted"
    REVOKED = "revoked"


@dataclass(frozen=True, kw_only=True)
class HostKey:
    """One pair of public keys of one host, by its name: the keys outlive the host's row.

    ``id`` is their fingerprint, ``signing_key`` (Ed25519) and ``sealing_key`` (X25519) are base64.
    ``sequence`` is the highest sequence number of a report that was written, and ``digest`` what that
    one said: SHA-256 of its body, hexadecimal.
    """

    id: str
    host: str
    state: KeyState
    signing_key: str
    sealing_key: str
    sequence: int = -1
    digest: str = ""
    created_at: datetime | None = None
    updated_at: datetime | None = None
