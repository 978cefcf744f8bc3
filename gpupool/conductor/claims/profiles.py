"""Profiles."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from gpupool.conductor.claims import validation
from gpupool.conductor.context import Parts, Transaction
from gpupool.db import profiles
from gpupool.model import errors, wire
from gpupool.model.profile import Profile

_CHANGEABLE = {field.name for field in fields(Profile)} - {"id", "created_at", "updated_at"}

_COUNTS = {"count", "min_count", "max_count"}


def create(parts: Parts, profile: Profile) -> Profile:
    """Return the new profile; with the id of one that is there already, that one.

    Its values are those a claim may have; Unavailable when Placement is needed to know.
    """
    profile = _ranged(profile)
    _check(parts, profile)
    return parts.commit(_create, replace(profile, created_at=None, updated_at=None))


def _ranged(profile: Profile) -> Profile:
    """Return the profile, of an elastic one with what its claims wait for, see elastic_counts."""
    if profile.min_count is None and profile.max_count is None:
        return profile
    count, least, most = validation.elastic_counts(profile.min_count, profile.max_count)
    return replace(profile, count=count, min_count=least, max_count=most)


def _check(parts: Parts, profile: Profile) -> None:
    if not profile.name.strip():
        raise errors.Invalid("name is empty; allowed: 1 to 255 characters, not all blank")
    validation.check_sizes(profile, parts.conf.conductor.max_sessions_per_vgpu)
    validation.check_traits(parts.placement, profile.required_traits, profile.forbidden_traits)


def _create(transaction: Transaction, profile: Profile) -> Profile:
    return profiles.create(transaction.session, profile)


def update(parts: Parts, profile_id: str, changes: Mapping[str, Any]) -> Profile:
    """Return the profile with ``changes``, fields by name, made. Claims keep what they were made with.

    Raises as ``create``, of the whole profile as it would be.
    """
    with parts.database.reader() as session:
        before = profiles.get(session, profile_id)
    if "count" in changes:
        # In place of a range, which it may have had.
        changes = {"min_count": None, "max_count": None, **changes}
    changed = _ranged(wire.load(Profile, {**wire.dump(before), **changes, "id": before.id}))
    _check(parts, changed)
    names = changes.keys() | (_COUNTS if changes.keys() & _COUNTS else set())
    wanted = {name: getattr(changed, name) for name in names & _CHANGEABLE}
    return parts.commit(_update, before.id, wanted)


def _update(transaction: Transaction, profile_id: str, changes: Mapping[str, Any]) -> Profile:
    return profiles.update(transaction.session, profile_id, **changes)


def delete(transaction: Transaction, profile_id: str) -> None:
    """Delete a profile; claims made from it stay."""
    profiles.delete(transaction.session, profile_id)
