"""Pools."""

import uuid
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from gpupool.conductor.leader_notifier import LeaderNotifier
from gpupool.conductor.providers.outbox import Outbox
from gpupool.conductor.transaction import Transaction, Transactions
from gpupool.db import hosts, pools
from gpupool.model import errors
from gpupool.model.claim import AMOUNT_MAX
from gpupool.model.device import NAMESPACE
from gpupool.model.pool import DEFAULT_POOL, NUMBER_MAX, Pool, PoolChange

# From what to what numbers are allowed.
_BOUNDS = {
    "compute_overcommit": (100, NUMBER_MAX),
    "memory_overcommit": (100, NUMBER_MAX),
    "moves_per_hour": (0, NUMBER_MAX),
    "min_run_time": (0, AMOUNT_MAX),
}
# What decides how much room the pool's devices have.
_GRANTS = frozenset({"compute_overcommit", "memory_overcommit"})


class Pools:
    """What the operator changes on pools, and who has to follow that."""

    def __init__(self, transactions: Transactions, outbox: Outbox, notifier: LeaderNotifier) -> None:
        self._transactions, self._outbox, self._notifier = transactions, outbox, notifier

    def update(self, pool_id: str, change: PoolChange) -> Pool:
        """Return the pool with ``change`` made; what it holds already stays where it is."""
        if change.remove_min_run_time and change.min_run_time is not None:
            raise errors.Invalid("min_run_time is given and removed; allowed: one")
        changes = {name: value for name, value in asdict(change).items() if value is not None}
        if "name" in changes:
            _check_name(changes["name"])
        for name in _BOUNDS.keys() & changes:
            _check_number(name, changes[name])
        if changes.pop("remove_min_run_time"):
            changes["min_run_time"] = None
        pool, members = self._transactions.commit(_update, pool_id, changes)
        self._outbox.add(members)
        # It may grant more now.
        self._notifier.notify()
        return pool


def create(transaction: Transaction, pool: Pool) -> Pool:
    """Return the new pool; with the id of one that is there already, that one."""
    _check_name(pool.name)
    for name in _BOUNDS:
        _check_number(name, getattr(pool, name))
    return pools.create(transaction.session, replace(pool, created_at=None, updated_at=None))


def create_default(transaction: Transaction) -> Pool:
    """Return the pool that hosts join unless they are told another; made once for all conductors."""
    pool = Pool(id=str(uuid.uuid5(NAMESPACE, f"pool:{DEFAULT_POOL}")), name=DEFAULT_POOL)
    try:
        return pools.get_by_name(transaction.session, DEFAULT_POOL)
    except errors.NotFound:
        return pools.create(transaction.session, pool)


def _update(
    transaction: Transaction, pool_id: str, changes: Mapping[str, Any]
) -> tuple[Pool, list[str]]:
    """Return the pool, and the hosts that have other room now: their providers have to follow."""
    if changes.get("name", DEFAULT_POOL) != DEFAULT_POOL:
        _check_not_default(transaction, pool_id, "keeps its name")
    pool = pools.update(transaction.session, pool_id, **changes)
    if not _GRANTS & changes.keys():
        return pool, []
    members = hosts.list_(transaction.session, {"pool_id": pool_id})
    held = transaction.hold(host.id for host in members)
    transaction.revise_all(held.values())
    return pool, list(held)


def delete(transaction: Transaction, pool_id: str) -> None:
    """Delete a pool; Conflict while it has hosts or claims that have not ended, or for the default."""
    _check_not_default(transaction, pool_id, "is not deleted")
    pools.delete(transaction.session, pool_id)


def _check_not_default(transaction: Transaction, pool_id: str, why_not: str) -> None:
    if pools.get(transaction.session, pool_id).name == DEFAULT_POOL:
        raise errors.Conflict(
            f"pool {DEFAULT_POOL} {why_not}: claims, queues and hosts that name no pool are of it"
        )


def _check_name(name: str) -> None:
    if not name.strip():
        raise errors.Invalid("name is empty; allowed: 1 to 255 characters, not all blank")


def _check_number(name: str, value: int | None) -> None:
    least, most = _BOUNDS[name]
    if value is not None and not least <= value <= most:
        raise errors.Invalid(f"{name} is {value}; allowed: {least} to {most}")
