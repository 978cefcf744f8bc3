"""Schemas of devices."""

from gpupool.api.v1.schemas import common
from gpupool.model.device import SharingMode
from gpupool.model.states import DeviceHealth

LIST = common.listing(
    {
        "host": common.HOST_NAME_OR_ID,
        "host_id": common.ID,
        "pool": common.NAME_OR_ID,
        "key": common.TEXT,
        "vendor": common.TEXT,
        "product": common.TEXT,
        "sharing_mode": common.one_of(SharingMode),
        "health": common.one_of(DeviceHealth),
        "enabled": common.BOOLEAN,
        "in_placement": common.BOOLEAN,
        "simulated": common.BOOLEAN,
    },
    ("key", "vendor", "product", "memory_mib", "health", "enabled", "created_at", "updated_at"),
)
ACTION = common.action({"disable": common.body({"reason": common.LONG_TEXT}), "enable": common.EMPTY})
