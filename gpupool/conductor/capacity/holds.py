"""Holds: a host that refuses vGPUs gets no new ones for a time, which doubles as long as it goes on.

Whatever a host's refusal is due to, and even if it lies, the claims in the queue are not spent on it.
The end of a hold is a moment of the database's clock, as any conductor takes reports and any may lead;
a step of that clock ends a hold sooner or later, by no more than the longest.
"""

from datetime import datetime, timedelta
from typing import Any

from gpupool.model import backoff
from gpupool.model.host import REVOKED, Host
from gpupool.model.states import HostState

FIRST, LONGEST = timedelta(seconds=5), timedelta(minutes=5)


def hold(host: Host, why: str, now: datetime) -> dict[str, Any]:
    """Return what to change on a host one of whose reports refused vGPUs."""
    again = host.held_until is not None and now < host.held_until + LONGEST
    refusals = host.refusals + 1 if again else 1
    seconds = backoff.after(FIRST.total_seconds(), LONGEST.total_seconds(), refusals - 1)
    return {"refusals": refusals, "held_until": now + timedelta(seconds=seconds), "held_reason": why}


def is_held(held_until: datetime | None, now: datetime) -> bool:
    """Return whether a host is held now; not by a time that only a clock set back can have left."""
    return held_until is not None and now < held_until <= now + LONGEST


def closed(host: Host, now: datetime) -> str:
    """Return why a host takes no new vGPUs; empty when it does, and for one that only is silent."""
    if host.state != HostState.UP:
        return REVOKED if host.unable_reason == REVOKED else ""
    if not host.enabled:
        return f"disabled by an operator: {host.disabled_reason}".removesuffix(": ")
    if host.unable_reason or host.unapplied_reason:
        return host.unable_reason or host.unapplied_reason
    if not is_held(host.held_until, now):
        return ""
    times = f"{host.refusals} reports in a row" if host.refusals > 1 else "its last report"
    # What it said may name what other projects have; operators see it on the host.
    return f"{times} refused vGPUs"
