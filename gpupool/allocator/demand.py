"""A demand: everything of a claim that decides whether and where it finds room."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

from gpupool.model.claim import Claim, Layout, Qos, Tier
from gpupool.model.device import SharingMode
from gpupool.model.share import Share

_FIELDS: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Two claims of equal demands find the same room; fields as on Claim.

    ``count`` may be 0: a program that takes only CPU and memory of a host. ``products`` are names of
    device models of which every device has to be one, none for any. ``sharing_mode`` is how the
    devices are cut, ``partition`` the kind of part that is wanted of a device that is not cut freely
    (see ``geometry``).
    """

    count: int
    compute: int
    memory_mib: int
    tier: Tier = Tier.POOL
    required_traits: tuple[str, ...] = ()
    forbidden_traits: tuple[str, ...] = ()
    products: tuple[str, ...] = ()
    host: str | None = None
    devices: tuple[str, ...] = ()
    qos: Qos = Qos.GUARANTEED
    cpu_milli: int = 0
    host_memory_mib: int = 0
    layout: Layout = Layout.ANY
    same_host: bool = False
    same_type: bool = False
    linked: bool = False
    sharing_mode: SharingMode = SharingMode.SHARED
    partition: str = ""

    def __post_init__(self) -> None:
        # Demands are looked up for every decision; the fields are hashed once.
        key = tuple(getattr(self, name) for name in _FIELDS)
        object.__setattr__(self, "_hash", hash(key))

    def __setstate__(self, state: dict[str, object]) -> None:
        # Texts have other hashes in another process.
        self.__dict__.update(state)
        self.__post_init__()

    def __hash__(self) -> int:
        """Return the hash of all fields."""
        found: int = self._hash  # type: ignore[attr-defined]
        return found

    @classmethod
    def of(cls, claim: Claim) -> "Demand":
        """Return what ``claim`` demands."""
        return cls(**{name: getattr(claim, name) for name in _SHARED})

    def shares(self, device_ids: Iterable[str]) -> tuple[Share, ...]:
        """Return a share of each device that is as large as this says."""
        return tuple(Share(each, self.compute, self.memory_mib) for each in device_ids)


_FIELDS = tuple(field.name for field in fields(Demand))
_SHARED = tuple(name for name in _FIELDS if name in {field.name for field in fields(Claim)})
