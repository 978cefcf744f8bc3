"""Placement traits: what a device is, in words that a claim may require or forbid."""

import re

from gpupool.model.device import SharingMode

# Traits of this prefix are ours to set and to remove; every other trait of a provider is left alone.
PREFIX = "CUSTOM_GPUPOOL_"
TRAIT_MAX = 255


def trait(*words: str) -> str:
    """Return the trait for ``words``: CUSTOM_GPUPOOL_ and what of them a trait may hold."""
    return (PREFIX + "_".join(map(_word, words)))[:TRAIT_MAX]


def common(vendor: str, product: str, mode: SharingMode) -> tuple[str, ...]:
    """Return the traits that every device has: what it is, and how it is cut.

    A product that repeats its vendor ("NVIDIA H200") says it once.
    """
    product = _word(product).removeprefix(_word(vendor) + "_")
    return (trait(vendor, product), trait("mode", mode))


def _word(text: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", text.upper()).strip("_")
