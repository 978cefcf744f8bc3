"""What conductors sign with: one key for all of them, in their database."""

import json
import threading
import time
from dataclasses import dataclass

from gpupool.db import conductor_keys
from gpupool.db.api import Database
from gpupool.model import errors, wire
from gpupool.model.envelope import Envelope, Instructions, Purpose
from gpupool.model.host_key import HostKey
from gpupool.model.report import DesiredState
from gpupool.rpc import keys

# Seconds after which the database is asked again: a key may have been added or removed.
_FRESH = 30.0
_ATTEMPTS = 4


@dataclass(frozen=True)
class _Loaded:
    signer: keys.Signer
    public: tuple[str, ...]
    at: float


class ConductorKeys:
    """Signs and seals what is sent to agents."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None

    def public(self) -> tuple[str, ...]:
        """Return the public keys: that in use, and those that will follow it."""
        return self._load().public

    def sign(self, purpose: Purpose, host: str, sequence: int, body: str) -> Envelope:
        """Return a signed message to the agent of ``host``."""
        return self._load().signer.sign(purpose, host, sequence, body)

    def seal(self, desired: DesiredState, key: HostKey) -> str:
        """Return what a host should have as it alone can read it."""
        instructions = Instructions(desired=desired, conductor_keys=self.public())
        return keys.seal(json.dumps(wire.dump(instructions)), key.host, key.sealing_key, key.id)

    def look(self, desired: DesiredState, key: HostKey) -> Envelope:
        """Return the message that tells an agent at once what its host should have."""
        return self.sign(Purpose.LOOK, key.host, desired.generation, self.seal(desired, key))

    def _load(self) -> _Loaded:
        """Return the keys; make the first when there is none. No transaction may be open."""
        loaded = self._loaded
        if loaded is not None and time.monotonic() - loaded.at < _FRESH:
            return loaded
        with self._lock:
            found = self._read() or self._make()
            first = found[0]
            signer = keys.conductor_signer(first.private_key, first.public_key)
            public = tuple(key.public_key for key in found)
            self._loaded = _Loaded(signer, public, time.monotonic())
            return self._loaded

    def _read(self) -> list[conductor_keys.ConductorKey]:
        with self._database.reader() as session:
            return conductor_keys.list_(session)

    def _make(self) -> list[conductor_keys.ConductorKey]:
        for _ in range(_ATTEMPTS):
            try:
                with self._database.writer() as session:
                    if not conductor_keys.list_(session):
                        conductor_keys.add(session, *keys.new_signing_key())
            except errors.Conflict:
                continue
            break
        return self._read()
