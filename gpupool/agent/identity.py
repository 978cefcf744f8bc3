"""The identity of this host: its private keys, its signature counter, the conductors it trusts.

All of it is in files of the state folder that only the agent's user reads. New keys, made by
``gpupool-agent-key rotate``, lie beside the present ones until a conductor has taken them.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from gpupool.agent import record
from gpupool.model import errors, whole_file, wire
from gpupool.rpc.keys import HostKeys

LOG = logging.getLogger(__name__)
# Sequence numbers are written ahead so many at a time: an agent that was killed never repeats one.
AHEAD = 10_000


@dataclass(frozen=True)
class _Sequence:
    below: int


@dataclass(frozen=True)
class _Trusted:
    conductor_keys: tuple[str, ...]


class Identity:
    """The files of one agent's state folder; used by one thread at a time."""

    def __init__(self, state: Path) -> None:
        self._keys = state / "keys.json"
        self._next = state / "next_keys.json"
        self._sequence = state / "sequence.json"
        self._trusted = state / "conductor_keys.json"
        self._number: int | None = None
        self._below = 0

    def has_keys(self) -> bool:
        """Return whether the agent has made its keys."""
        return self._keys.exists()

    def keys(self) -> HostKeys:
        """Return the present keys, made at the first call. Raises Invalid when they are damaged."""
        found = _read_keys(self._keys)
        if found is None:
            found = HostKeys.generate()
            record.write_json(self._keys, wire.dump(found))
            LOG.info("this host has new keys: %s", found.fingerprint)
        return found

    def next_keys(self) -> HostKeys | None:
        """Return the keys that are to take the place of the present ones, if there are any."""
        return _read_keys(self._next)

    def rotate(self) -> HostKeys:
        """Make keys that will take the place of the present ones; return them, or those that wait."""
        found = _read_keys(self._next)
        if found is None:
            found = HostKeys.generate()
            record.write_json(self._next, wire.dump(found))
        return found

    def advance(self) -> HostKeys:
        """Return the next keys, which are the present ones from now on."""
        whole_file.rename(self._next, self._keys)
        found = self.keys()
        LOG.info("this host has new keys: %s", found.fingerprint)
        return found

    def next_sequence(self) -> int:
        """Return a number higher than any before, whatever the clock says."""
        if self._number is None:
            kept = record.read(self._sequence, _Sequence)
            self._number = self._below = kept.below if kept else 0
        self._number += 1
        self._write_ahead()
        return self._number

    def skip_to(self, sequence: int) -> None:
        """Raise the next number above ``sequence``, as after a restore of the state folder."""
        self._number = max(self._number or 0, sequence)

    def _write_ahead(self) -> None:
        """Write down a number that the present one is below; without that, go on all the same.

        A conductor that knows a higher number than a restarted agent says so.
        """
        if self._number is None or self._number < self._below:
            return
        below = self._number + AHEAD
        try:
            record.write(self._sequence, _Sequence(below))
        except OSError as exc:
            LOG.warning("the sequence number can't be written down: %s", exc)
        self._below = below

    def trusted(self) -> tuple[str, ...]:
        """Return the conductors' keys that were learnt; none when there was no conductor yet."""
        kept = record.read(self._trusted, _Trusted)
        return kept.conductor_keys if kept else ()

    def trust(self, conductor_keys: tuple[str, ...]) -> None:
        """Write down the conductors' keys, if they can be."""
        try:
            record.write_json(self._trusted, wire.dump(_Trusted(conductor_keys)))
        except OSError as exc:
            LOG.warning("the conductors' keys can't be written down: %s", exc)


def _read_keys(path: Path) -> HostKeys | None:
    """Return the keys of a file, None when there is none; Invalid, saying what to do, when damaged."""
    if not path.exists():
        return None
    try:
        found = wire.load(HostKeys, json.loads(path.read_text()))
        found.fingerprint  # noqa: B018 - it is what fails
    except (errors.Invalid, ValueError, TypeError, AttributeError) as exc:
        raise errors.Invalid(
            f"{path} is damaged: restore it, or remove it for new keys and have the host admitted again"
        ) from exc
    return found
