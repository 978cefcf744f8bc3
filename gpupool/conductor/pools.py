"""Pools."""

import uuid
from dataclasses import replace

from gpupool.conductor.parts import Transaction
from gpupool.db import pools
from gpupool.model import errors
from gpupool.model.device import NAMESPACE
from gpupool.model.pool import DEFAULT_POOL, Pool


def create(transaction: Transaction, pool: Pool) -> Pool:
    """Return the new pool; with the id of one that is there already, that one."""
    _check_name(pool.name)
    return pools.create(transaction.session, replace(pool, created_at=None, updated_at=None))


def create_default(transaction: Transaction) -> Pool:
    """Return the pool that hosts join unless they are told another; made once for all conductors."""
    pool = Pool(id=str(uuid.uuid5(NAMESPACE, f"pool:{DEFAULT_POOL}")), name=DEFAULT_POOL)
    try:
        return pools.get_by_name(transaction.session, DEFAULT_POOL)
    except errors.NotFound:
        return pools.create(transaction.session, pool)


def update(transaction: Transaction, pool_id: str, name: str | None, description: str | None) -> Pool:
    """Return the pool renamed or described; None leaves as it is."""
    if name is not None:
        _check_name(name)
    given = {"name": name, "description": description}
    changes = {key: value for key, value in given.items() if value is not None}
    return pools.update(transaction.session, pool_id, **changes)


def delete(transaction: Transaction, pool_id: str) -> None:
    """Delete a pool; Conflict while it has hosts or claims that have not ended."""
    pools.delete(transaction.session, pool_id)


def _check_name(name: str) -> None:
    if not name.strip():
        raise errors.Invalid("name is empty; allowed: 1 to 255 characters, not all blank")
