"""Waits: where the claims that wait stand in line, and from whom they are to get their places."""

from dataclasses import dataclass
from enum import StrEnum

from gpupool.allocator.claims import Waiting
from gpupool.allocator.occupancy import Occupancy
from gpupool.allocator.reservation import NEVER, Reservation, last_of


class Room(StrEnum):
    """From whom a claim gets its place: from claims that end, at a known time or not, or that leave."""

    ENDING = "ending"
    ENDLESS = "endless"
    LEAVING = "leaving"


@dataclass(frozen=True, kw_only=True)
class Wait:
    """A claim that waits on: its place in line from 1, and when it starts at latest if known.

    ``room`` is None while no place is planned for it. ``after`` is the claim whose end it waits for
    last, None where that is not known.
    """

    claim_id: str
    position: int
    starts_at: float | None = None
    room: Room | None = None
    after: str | None = None


def wait_of(
    claim: Waiting, position: int, mine: Reservation | None, occupancy: Occupancy, now: float
) -> Wait:
    """Return the wait of a claim, which may have a reservation."""
    if mine is None:
        return Wait(claim_id=claim.claim_id, position=position)
    room = Room.ENDLESS if mine.starts_at == NEVER else Room.ENDING
    if mine.paid or mine.starts_at == -NEVER:
        room = Room.LEAVING
    return Wait(
        claim_id=claim.claim_id,
        position=position,
        starts_at=None if room == Room.ENDLESS else max(mine.starts_at, now),
        room=room,
        after=last_of(occupancy, mine),
    )
