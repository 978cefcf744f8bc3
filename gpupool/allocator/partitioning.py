"""Partitionings: what kinds of parts a device can be cut into, and where on it they may lie."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache

from gpupool.model.share import Part

Parts = frozenset[Part]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One kind of part.

    ``places`` are the slices at which a part may start, ``slices`` how many it takes from there.
    ``compute`` and ``memory`` are its shares of the device. A device has its ``media`` engine once.
    """

    kind: str
    places: tuple[int, ...]
    slices: int
    compute: Fraction
    memory: Fraction
    media: bool = False


# Of one device there are few partitionings; they are told apart as such.
@dataclass(frozen=True, kw_only=True, eq=False)
class Partitioning:
    """All kinds of parts of one device; ``mixed`` when several kinds may be beside each other."""

    slices: int
    profiles: tuple[Profile, ...]
    mixed: bool

    def profile(self, kind: str) -> Profile | None:
        """Return the profile of that kind, None when there is none."""
        return self._profiles.get(kind)

    @lru_cache(maxsize=65536)  # noqa: B019 - partitionings are there for good
    def room(self, kind: str, parts: Parts) -> int:
        """Return how many more parts of ``kind`` fit beside ``parts`` at most."""
        return _most(tuple(self._takes(kind, place) for place in self._free(kind, parts)))

    @lru_cache(maxsize=65536)  # noqa: B019
    def best(self, kind: str, parts: Parts) -> int:
        """Return the place for one more part of ``kind``; ValueError when none is free.

        As many of the same kind still fit beside it as can, and then most places of all kinds stay free.
        """
        free = self._free(kind, parts)
        if not free:
            raise ValueError(f"no room for {kind} beside {sorted(parts)}")
        return max(free, key=lambda place: (*self._left(kind, parts | {Part(kind, place)}), -place))

    def is_free(self, part: Part, parts: Parts) -> bool:
        """Return whether ``part`` can lie beside ``parts``."""
        return all(self._beside(part, other) for other in parts)

    def blockers(self, kind: str, parts: Parts) -> list[Parts]:
        """Return for each place of one more part of ``kind`` which of ``parts`` are in its way."""
        profile = self._profiles.get(kind)
        places = () if profile is None else profile.places
        return [
            frozenset(other for other in parts if not self._beside(Part(kind, place), other))
            for place in places
        ]

    def _beside(self, part: Part, other: Part) -> bool:
        """Return whether two parts can lie beside each other."""
        alike = self.mixed or part[0] == other[0]
        return alike and not self._takes(*part) & self._takes(*other)

    def _left(self, kind: str, parts: Parts) -> tuple[int, int]:
        return self.room(kind, parts), sum(len(self._free(each, parts)) for each in self._profiles)

    def _free(self, kind: str, parts: Parts) -> tuple[int, ...]:
        """Return the places where a part of ``kind`` overlaps none of ``parts``."""
        profile = self._profiles.get(kind)
        if profile is None or not (self.mixed or all(other == kind for other, _ in parts)):
            return ()
        taken = 0
        for other, place in parts:
            taken |= self._takes(other, place)
        return tuple(place for place in profile.places if not taken & self._takes(kind, place))

    def _takes(self, kind: str, place: int) -> int:
        """Return the slices that a part takes as bits, the media engine above them."""
        profile = self._profiles.get(kind)
        if profile is None:
            # Somebody else's part, of which nothing is known: it may lie anywhere.
            return (1 << (self.slices + 1)) - 1
        return ((1 << profile.slices) - 1) << place | profile.media << self.slices

    @cached_property
    def _profiles(self) -> dict[str, Profile]:
        return {profile.kind: profile for profile in self.profiles}


def _most(takes: tuple[int, ...]) -> int:
    """Return how many of ``takes`` can be chosen at most so that no two have a bit in common."""
    if not takes:
        return 0
    first, rest = takes[0], takes[1:]
    apart = tuple(other for other in rest if not other & first)
    found = 1 + _most(apart)
    return found if len(apart) == len(rest) else max(found, _most(rest))
