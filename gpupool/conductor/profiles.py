"""Profiles."""

from dataclasses import replace

from gpupool.conductor import requests
from gpupool.conductor.parts import Parts, Transaction
from gpupool.db import profiles
from gpupool.model import errors
from gpupool.model.profile import Profile


def create(parts: Parts, profile: Profile) -> Profile:
    """Return the new profile; with the id of one that is there already, that one.

    Its values are those a claim may have; Unavailable when Placement is needed to know.
    """
    if not profile.name.strip():
        raise errors.Invalid("name is empty; allowed: 1 to 255 characters, not all blank")
    requests.check_sizes(profile, parts.conf.conductor.max_sessions_per_vgpu)
    requests.check_traits(parts.placement, profile.required_traits, profile.forbidden_traits)
    return parts.commit(_create, replace(profile, created_at=None, updated_at=None))


def _create(transaction: Transaction, profile: Profile) -> Profile:
    return profiles.create(transaction.session, profile)


def delete(transaction: Transaction, profile_id: str) -> None:
    """Delete a profile; claims made from it stay."""
    profiles.delete(transaction.session, profile_id)
