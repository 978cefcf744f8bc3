"""Dataclasses of the model as JSON types, with the names of hosts and pools beside their ids."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from oslo_utils import timeutils
from sqlalchemy.orm import Session

from gpupool.db import devices, hosts, pools
from gpupool.model.share import Part

Json = dict[str, Any]


def plain(item: Any) -> Json:
    """Return a dataclass as JSON types, field by field; times are ISO 8601 in UTC, and say so by a Z."""
    return some(item, *(field.name for field in dataclasses.fields(item)))


def some(item: Any, *names: str) -> Json:
    """Return as ``plain`` these fields only."""
    return {name: _value(getattr(item, name)) for name in names}


def _value(value: Any) -> Any:
    if isinstance(value, datetime):
        return f"{value.isoformat()}Z"
    if isinstance(value, Part):
        return value._asdict()
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value


def time(text: str) -> datetime:
    """Return an ISO 8601 time that a schema let pass as this program keeps times: UTC, no zone."""
    naive: datetime = timeutils.normalize_time(timeutils.parse_isotime(text))
    return naive


def with_pool(session: Session, items: Sequence[Any]) -> list[Json]:
    """Return items that have a pool_id, each with ``pool``, its name; None when the pool is gone."""
    names = pool_names(session, (item.pool_id for item in items))
    return [{**plain(item), "pool": names.get(item.pool_id)} for item in items]


def with_host(session: Session, items: Sequence[Any]) -> list[Json]:
    """Return items that have a host_id, each with ``host``, its name."""
    found = hosts.list_(session, {"id": sorted({item.host_id for item in items})})
    names = {host.id: host.name for host in found}
    return [{**plain(item), "host": names.get(item.host_id)} for item in items]


def with_device(session: Session, items: Sequence[Any]) -> list[Json]:
    """Return items that have a host_id and a device_id, with ``host`` and ``device``, as HOST/KEY."""
    found = devices.list_(session, {"id": sorted({item.device_id for item in items})})
    keys = {device.id: device.key for device in found}
    return [
        {**item, "device": f"{item['host']}/{keys.get(item['device_id'])}"}
        for item in with_host(session, items)
    ]


def device_names(session: Session, ids: Iterable[str]) -> dict[str, str]:
    """Return the names of devices, HOST/KEY, by id."""
    found = devices.list_(session, {"id": sorted(set(ids))})
    return {view["id"]: f"{view['host']}/{view['key']}" for view in with_host(session, found)}


def pool_names(session: Session, ids: Iterable[str]) -> dict[str, str]:
    """Return the names of pools by id."""
    return {pool.id: pool.name for pool in pools.list_(session, {"id": sorted(set(ids))})}
