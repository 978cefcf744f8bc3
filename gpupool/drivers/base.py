"""What a driver is: it finds the devices of one kind on this host and says how workers open them."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gpupool.model.device import SharingMode
from gpupool.model.report import DeviceReport

TRAIT_MAX = 255


@dataclass(frozen=True)
class DeviceHandle:
    """How a worker opens a device: the vendor's library, the ordinal in it, what it needs set."""

    library: Path
    ordinal: int
    environment: Mapping[str, str] = field(default_factory=dict)


class Driver(ABC):
    """One kind of device. Methods may be called from several threads."""

    @abstractmethod
    def discover(self) -> list[DeviceReport]:
        """Return the devices as they are now; a device that does not answer is listed as failed."""

    @abstractmethod
    def open(self, device_key: str) -> DeviceHandle:
        """Return how a worker opens ``device_key``, or raise NotFound."""


def trait(*words: str) -> str:
    """Return the Placement trait for ``words``: CUSTOM_GPUPOOL_ and what of them a trait may hold."""
    return "_".join(["CUSTOM_GPUPOOL", *map(_word, words)])[:TRAIT_MAX]


def common_traits(vendor: str, product: str, mode: SharingMode) -> tuple[str, ...]:
    """Return the traits that every device has: what it is, and how it is cut.

    A product that repeats its vendor ("NVIDIA H200") says it once.
    """
    product = _word(product).removeprefix(_word(vendor) + "_")
    return (trait(vendor, product), trait("mode", mode))


def _word(text: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", text.upper()).strip("_")
