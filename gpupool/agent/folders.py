"""Where an agent keeps things: what must outlive it, and the sockets programs reach."""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from oslo_config import cfg

from gpupool.model import errors

SOCKET = "session.sock"


@dataclass(frozen=True)
class Folders:
    """The folders of one agent; two agents never share any but ``cdi``."""

    state: Path
    run: Path
    cdi: Path

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> "Folders":
        """Return the folders that ``[agent]`` names."""
        agent = conf.agent
        return cls(
            *(Path(path).absolute() for path in (agent.state_path, agent.run_path, agent.cdi_path))
        )

    @property
    def ledgers(self) -> Path:
        """One ledger file per vGPU; its being there is the vGPU's being there."""
        return self.state / "ledgers"

    @property
    def attachments(self) -> Path:
        """One empty file per attachment, made before anything else of it and removed last."""
        return self.state / "attachments"

    @property
    def tickets(self) -> Path:
        """One file per container's attachment: the ticket, which is mounted into the container."""
        return self.state / "tickets"

    @property
    def sessions(self) -> Path:
        """One record per session."""
        return self.state / "sessions"

    @property
    def of_records(self) -> tuple[Path, ...]:
        """Those in which files are made whole or not at all."""
        return (self.ledgers, self.devices, self.sessions, self.tickets)

    @property
    def desired(self) -> Path:
        """The desired state that was last heard."""
        return self.state / "desired.json"

    @property
    def debts(self) -> Path:
        """What projects owe devices."""
        return self.state / "debts.json"

    @property
    def devices(self) -> Path:
        """One file per device that its workers read."""
        return self.state / "devices"

    @property
    def control(self) -> Path:
        """One socket per session and peer, at which that waits to be told."""
        return self.run / "control"

    def run_of(self, attachment_id: str) -> Path:
        """Return the folder that a program of this attachment may reach."""
        return self.run / "attachments" / attachment_id

    def socket(self, attachment_id: str) -> Path:
        """Return where the attachment's sessions are asked for."""
        return self.run_of(attachment_id) / SOCKET

    def make(self) -> None:
        """Make what is missing; the state is the agent's own, a socket is everybody's who knows its id.

        Whoever reached another's socket could not open a session, but keep its programs waiting: so
        nobody may list the attachments.
        """
        for folder in (
            self.state,
            self.ledgers,
            self.devices,
            self.attachments,
            self.tickets,
            self.sessions,
        ):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.run, self.run / "attachments", self.cdi):
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        (self.run / "attachments").chmod(0o711)
        self.control.mkdir(mode=0o700, exist_ok=True)

    def lock(self) -> int:
        """Return the descriptor of a lock that ends with this process; Conflict if another has it."""
        path = self.state / "lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            os.close(descriptor)
            raise errors.Conflict(f"another agent uses {path}") from exc
        return descriptor
