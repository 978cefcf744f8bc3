"""Schemas of hosts."""

from gpupool.api.v1.schemas import common
from gpupool.model.host_key import FINGERPRINT
from gpupool.model.states import HostState

LIST = common.listing(
    {
        "name": common.TEXT,
        "pool": common.NAME_OR_ID,
        "pool_id": common.ID,
        "state": common.one_of(HostState),
        "simulated": common.BOOLEAN,
        "enabled": common.BOOLEAN,
    },
    ("name", "state", "cpu_milli", "memory_mib", "last_seen_at", "created_at", "updated_at"),
)
UPDATE = common.body({"pool": common.NAME_OR_ID}, ["pool"])
_FINGERPRINT: common.Schema = {
    "type": "string",
    "maxLength": 50,
    "pattern": f"^{FINGERPRINT}\\Z",
    "description": "SHA256: and 43 characters, as `gpupool-agent-key show` prints",
}
ACTION = common.action(
    {
        "admit": common.body({"fingerprint": _FINGERPRINT}, ["fingerprint"]),
        "revoke": common.body({}),
        "enable": common.body({}),
        "disable": common.body({"reason": common.TEXT}),
    }
)
