"""Quotas: what a project holds, against what it may."""

from collections.abc import Mapping

from sqlalchemy.orm import Session

from gpupool.conductor.limits import OfProject
from gpupool.conductor.parts import Parts
from gpupool.db import quotas
from gpupool.model import errors
from gpupool.model.claim import Claim
from gpupool.model.quota import NO_LIMIT, Quota, Resource

_UNITS: Mapping[Resource, str] = {Resource.COMPUTE: " %", Resource.MEMORY_MIB: " MiB"}


def check(session: Session, claim: Claim, limits: OfProject) -> None:
    """Raise OverQuota when ``claim``, which is about to be made, would be more than ``limits``.

    Two claims at once can't both take the last room: from here to the end of the transaction no
    other adds to the same project. Claims of other projects go on meanwhile.
    """
    limited = {resource: limit for resource, limit in limits.items() if limit != NO_LIMIT}
    if not limited:
        return
    quotas.hold(session, claim.project_id)
    # The same message may have come twice at once: then the claim is there by now.
    asked, used = wanted(claim), quotas.used(session, claim.project_id, besides=claim.id)
    over = [
        _sentence(resource, asked[resource], used[resource], limit)
        for resource, limit in limited.items()
        if used[resource] + asked[resource] > limit
    ]
    if over:
        raise errors.OverQuota("; ".join(over))


def wanted(claim: Claim) -> dict[Resource, int]:
    """Return what ``claim`` holds of each resource until it has ended."""
    return {
        Resource.CLAIMS: 1,
        Resource.VGPUS: claim.count,
        Resource.COMPUTE: claim.count * claim.compute,
        Resource.MEMORY_MIB: claim.count * claim.memory_mib,
    }


def _sentence(resource: Resource, asked: int, used: int, limit: int) -> str:
    unit = _UNITS.get(resource, "")
    return f"quota of {resource}: {asked}{unit} asked, {used}{unit} used, {limit}{unit} allowed"


def show(parts: Parts, project_id: str) -> list[Quota]:
    """Return limit and use of every resource; raises Unavailable while limits can't be known."""
    limits = parts.limits.of(project_id)
    with parts.database.reader() as session:
        used = quotas.used(session, project_id)
    return [
        Quota(project_id=project_id, resource=resource, limit=limits[resource], used=used[resource])
        for resource in Resource
    ]
