"""Devices in the database."""

from collections.abc import Collection, Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gpupool.db import models
from gpupool.db.table import Table
from gpupool.model.device import Device


def _of_pools(pool_ids: Sequence[object]) -> sa.ColumnElement[bool]:
    members = sa.select(models.Host.id).where(models.Host.pool_id.in_(pool_ids))
    return models.Device.host_id.in_(members)


_table = Table(models.Device, Device, related={"pool_id": _of_pools})
get, list_, create = _table.get, _table.list_, _table.create
update, delete = _table.update, _table.delete

# Parameters of one statement that every database takes.
_CHUNK = 500
# What an agent says of a device; the rest names it, or is the operator's.
REPORTED = frozenset(
    {
        "vendor",
        "product",
        "sharing_mode",
        "memory_mib",
        "reserved_mib",
        "traits",
        "health",
        "health_reason",
        "simulated",
        "link_group",
        "extends_memory",
    }
)


def upsert(session: Session, device: Device) -> Device:
    """Create ``device``, or write what its agent says of it; whether it is enabled stays."""
    stored = create(session, device)
    if same(stored, device):
        return stored
    return update(session, device.id, **_reported(device))


def note_in_placement(session: Session, device_ids: Collection[str], there: bool) -> None:
    """Write whether the providers of devices are in Placement; one statement for all of a chunk."""
    wanted = sorted(device_ids)
    for start in range(0, len(wanted), _CHUNK):
        chosen = models.Device.id.in_(wanted[start : start + _CHUNK])
        changed = chosen & (models.Device.in_placement != there)
        session.execute(sa.update(models.Device).where(changed).values(in_placement=there))


def ids(session: Session) -> set[str]:
    """Return the ids of all devices."""
    return set(session.execute(sa.select(models.Device.id)).scalars())


def keys(session: Session, device_ids: Collection[str]) -> dict[str, str]:
    """Return the keys of devices, by id."""
    if not device_ids:
        return {}
    query = sa.select(models.Device.id, models.Device.key).where(models.Device.id.in_(list(device_ids)))
    return dict(session.execute(query).tuples().all())


def same(stored: Device, device: Device) -> bool:
    """Return whether ``stored`` is what its agent says of ``device``."""
    return _reported(stored) == _reported(device)


def _reported(device: Device) -> dict[str, object]:
    return {name: getattr(device, name) for name in REPORTED}
