"""Profiles."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from gpupool.conductor.claims import validation
from gpupool.conductor.transaction import Transaction, Transactions
from gpupool.db import profiles
from gpupool.model import errors, wire
from gpupool.model.profile import Profile
from gpupool.placement.client import PlacementClient

_CHANGEABLE = {field.name for field in fields(Profile)} - {"id", "created_at", "updated_at"}

_COUNTS = {"count", "min_count", "max_count"}


class Profiles:
    """Makes and changes profiles; Placement knows the traits that they may name."""

    def __init__(self, transactions: Transactions, placement: PlacementClient) -> None:
        self._transactions, self._placement = transactions, placement

    def create(self, profile: Profile) -> Profile:
        """Return the new profile; with the id of one that is there already, that one.

        Its values are those a claim may have; Unavailable when Placement is needed to know.
        """
        profile = _checked(profile, self._transactions.conf.conductor.max_sessions_per_vgpu)
        validation.check_known(self._placement, (*profile.required_traits, *profile.forbidden_traits))
        return self._transactions.commit(_create, replace(profile, created_at=None, updated_at=None))

    def update(self, profile_id: str, changes: Mapping[str, Any]) -> Profile:
        """Return the profile with ``changes``, fields by name, made; claims keep what they have.

        Raises as ``create``, of the whole profile as it would be; traits that it had are known.
        """
        named = [*(changes.get("required_traits") or ()), *(changes.get("forbidden_traits") or ())]
        validation.check_known(self._placement, named)
        return self._transactions.commit(_update, profile_id, changes)


def _checked(profile: Profile, sessions_max: int) -> Profile:
    """Return the profile, of an elastic one with what its claims wait for, see elastic_counts.

    Raises Invalid unless a claim may have its values; whether Placement knows its traits is not asked.
    """
    if profile.min_count is not None or profile.max_count is not None:
        count, least, most = validation.elastic_counts(profile.min_count, profile.max_count)
        profile = replace(profile, count=count, min_count=least, max_count=most)
    if not profile.name.strip():
        raise errors.Invalid("name is empty; allowed: 1 to 255 characters, not all blank")
    validation.check_sizes(profile, sessions_max)
    validation.check_apart(profile.required_traits, profile.forbidden_traits)
    return profile


def _create(transaction: Transaction, profile: Profile) -> Profile:
    return profiles.create(transaction.session, profile)


def _update(transaction: Transaction, profile_id: str, changes: Mapping[str, Any]) -> Profile:
    # Writing locks the row: of two changes at once the second is checked with what the first made.
    before = profiles.update(transaction.session, profile_id)
    if "count" in changes:
        # In place of a range, which it may have had.
        changes = {"min_count": None, "max_count": None, **changes}
    wanted = wire.load(Profile, {**wire.dump(before), **changes, "id": before.id})
    changed = _checked(wanted, transaction.conf.conductor.max_sessions_per_vgpu)
    names = changes.keys() | (_COUNTS if changes.keys() & _COUNTS else set())
    values = {name: getattr(changed, name) for name in names & _CHANGEABLE}
    return profiles.update(transaction.session, before.id, **values)


def delete(transaction: Transaction, profile_id: str) -> None:
    """Delete a profile; claims made from it stay."""
    profiles.delete(transaction.session, profile_id)
