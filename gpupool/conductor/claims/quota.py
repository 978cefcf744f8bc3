"""Quotas: what a project holds, against what it may."""

from collections.abc import Collection, Mapping

from sqlalchemy.orm import Session

from gpupool.conductor.claims.limits import Limits, OfProject
from gpupool.conductor.transaction import Transactions
from gpupool.db import claims, quotas
from gpupool.model import errors
from gpupool.model.claim import COUNT_MAX, Claim
from gpupool.model.quota import NO_LIMIT, Quota, Resource

_UNITS: Mapping[Resource, str] = {Resource.COMPUTE: " %", Resource.MEMORY_MIB: " MiB"}


class Quotas:
    """Tells what projects hold, and what ``limits`` allow."""

    def __init__(self, transactions: Transactions, limits: Limits) -> None:
        self._transactions, self._limits = transactions, limits

    def known_limits(self, claim_ids: Collection[str]) -> dict[str, OfProject]:
        """Return by claim the limits of its project, where they are known without waiting."""
        with self._transactions.reader() as session:
            found = claims.list_(session, {"id": list(claim_ids)}) if claim_ids else []
        known = {claim.id: self._limits.known(claim.project_id) for claim in found}
        return {claim_id: limits for claim_id, limits in known.items() if limits is not None}

    def show(self, project_id: str) -> list[Quota]:
        """Return limit and use of every resource; raises Unavailable while limits can't be known."""
        limits = self._limits.of(project_id)
        with self._transactions.reader() as session:
            used = quotas.used(session, project_id)
        return self._quotas(project_id, limits, used)

    def list_(self, after: str, most: int) -> list[Quota]:
        """Return as ``show`` those of the projects that have claims, or limits of their own, by project.

        ``most`` projects at a time, those that come after ``after``; an empty one comes before all.
        """
        default, own = self._limits.everybody()
        with self._transactions.reader() as session:
            known = quotas.projects(session) | own.keys()
            wanted = sorted(project_id for project_id in known if project_id > after)[:most]
            used = quotas.used_by(session, wanted)
        return [
            quota
            for project_id in wanted
            for quota in self._quotas(project_id, own.get(project_id, default), used[project_id])
        ]

    def _quotas(self, project_id: str, limits: OfProject, used: OfProject) -> list[Quota]:
        return [
            Quota(
                project_id=project_id,
                resource=resource,
                limit=limits[resource],
                used=used[resource],
                source=self._limits.source,
            )
            for resource in Resource
        ]


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


def room(session: Session, claim: Claim, limits: OfProject) -> int:
    """Return by how many vGPUs a claim may grow; until the transaction ends nobody takes them away."""
    of_one = {
        Resource.VGPUS: 1,
        Resource.COMPUTE: claim.compute,
        Resource.MEMORY_MIB: claim.memory_mib,
    }
    limited = {each: limits[each] for each in of_one if limits[each] != NO_LIMIT}
    if not limited:
        return COUNT_MAX
    quotas.hold(session, claim.project_id)
    used = quotas.used(session, claim.project_id)
    return max(min((limit - used[each]) // of_one[each] for each, limit in limited.items()), 0)


def _sentence(resource: Resource, asked: int, used: int, limit: int) -> str:
    unit = _UNITS.get(resource, "")
    return f"quota of {resource}: {asked}{unit} asked, {used}{unit} used, {limit}{unit} allowed"
