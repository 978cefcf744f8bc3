"""A resource provider and its inventory, as Placement tells them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Provider:
    """One resource provider. ``generation`` grows with every change of what it has."""

    id: str
    name: str
    generation: int
    parent_id: str | None

    @classmethod
    def load(cls, record: Mapping[str, Any]) -> "Provider":
        """Return the provider that Placement's ``record`` describes."""
        return cls(
            id=record["uuid"],
            name=record["name"],
            generation=record["generation"],
            parent_id=record["parent_provider_uuid"],
        )


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """How much of one resource class a provider has.

    What can be allocated is ``(total - reserved) * allocation_ratio``, in units of the class.
    """

    total: int
    reserved: int
    max_unit: int
    min_unit: int = 1
    step_size: int = 1
    allocation_ratio: float = 1.0
