"""Items with every field filled, each with a new id; keywords change what a test is about."""

import itertools
import uuid
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session as Transaction

from gpupool.db import claims, devices, hosts, pools
from gpupool.model.attachment import Attachment, AttachmentKind
from gpupool.model.claim import Claim, Tier
from gpupool.model.device import Device, SharingMode
from gpupool.model.host import Host
from gpupool.model.pool import Pool
from gpupool.model.profile import Profile
from gpupool.model.session import Session
from gpupool.model.states import AttachmentState, ClaimState, HostState, VgpuState
from gpupool.model.vgpu import Vgpu

NOW = datetime(2030, 1, 2, 3, 4, 5, 678901)
_numbers = itertools.count()


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def pool(**fields: Any) -> Pool:
    return Pool(**{"id": str(uuid.uuid4()), "name": f"pool-{next(_numbers)}", **fields})


def profile(**fields: Any) -> Profile:
    return Profile(
        **{
            "id": str(uuid.uuid4()),
            "name": f"profile-{next(_numbers)}",
            "compute": 25,
            "memory_mib": 512,
            "tier": Tier.POOL,
            "priority": 50,
            "required_traits": ("CUSTOM_A", "CUSTOM_B"),
            **fields,
        }
    )


def host(pool: Pool, **fields: Any) -> Host:
    name = f"host-{next(_numbers)}"
    return Host(
        **{"id": str(uuid.uuid4()), "name": name, "pool_id": pool.id, "state": HostState.UP, **fields}
    )


def device(host: Host, **fields: Any) -> Device:
    return Device(
        **{
            "id": str(uuid.uuid4()),
            "host_id": host.id,
            "key": f"ref-{next(_numbers)}",
            "vendor": "gpupool",
            "product": "reference",
            "sharing_mode": SharingMode.SHARED,
            "memory_mib": 4096,
            "traits": ("CUSTOM_A",),
            **fields,
        }
    )


def claim(pool: Pool, **fields: Any) -> Claim:
    return Claim(
        **{
            "id": str(uuid.uuid4()),
            "name": "job",
            "project_id": "project",
            "user_id": "user",
            "pool_id": pool.id,
            "count": 1,
            "compute": 25,
            "memory_mib": 512,
            "tier": Tier.POOL,
            "state": ClaimState.QUEUED,
            **fields,
        }
    )


def vgpu(claim: Claim, device: Device, **fields: Any) -> Vgpu:
    return Vgpu(
        **{
            "id": str(uuid.uuid4()),
            "claim_id": claim.id,
            "project_id": claim.project_id,
            "host_id": device.host_id,
            "device_id": device.id,
            "index": 0,
            "compute": claim.compute,
            "memory_mib": claim.memory_mib,
            "state": VgpuState.PLANNED,
            "generation": 1,
            **fields,
        }
    )


def attachment(claim: Claim, host: Host, **fields: Any) -> Attachment:
    return Attachment(
        **{
            "id": str(uuid.uuid4()),
            "claim_id": claim.id,
            "project_id": claim.project_id,
            "host_id": host.id,
            "kind": AttachmentKind.PROCESS,
            "state": AttachmentState.PENDING,
            "ticket": "secret",
            "generation": 1,
            "environment": {"GPUPOOL_SOCKET": "/run/socket"},
            **fields,
        }
    )


def session(host: Host, **fields: Any) -> Session:
    return Session(
        **{
            "id": str(uuid.uuid4()),
            "attachment_id": str(uuid.uuid4()),
            "vgpu_id": str(uuid.uuid4()),
            "host_id": host.id,
            "program_pid": 10,
            "worker_pid": 11,
            "started_at": NOW,
            **fields,
        }
    )


def place(transaction: Transaction) -> tuple[Pool, Host, Device]:
    """Store a pool with one host with one device."""
    stored = pools.create(transaction, pool())
    home = hosts.create(transaction, host(stored))
    return stored, home, devices.create(transaction, device(home))


def stored_claim(transaction: Transaction, **fields: Any) -> Claim:
    """Store a claim in a pool of its own."""
    return claims.create(transaction, claim(pools.create(transaction, pool()), **fields))
