"""What NumPy takes long for where rows are many and short, as those of hosts and their devices are."""

from collections.abc import Sequence
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

Each = TypeVar("Each", bound=np.generic)


def rows(values: NDArray[Each], hosts: NDArray[np.int64] | slice) -> NDArray[Each]:
    """Return the rows of ``hosts``; an index of many takes three times as long."""
    return values[hosts] if isinstance(hosts, slice) else values.take(hosts, axis=0)


@overload
def across(values: NDArray[np.float64]) -> NDArray[np.float64]: ...


@overload
def across(values: NDArray[np.int64] | NDArray[np.bool_]) -> NDArray[np.int64]: ...


def across(values: NDArray[Any]) -> NDArray[Any]:
    """Return the sum of each row, of flags how many are set.

    From left to right whatever other rows there are, so that equal rows have equal sums.
    """
    found = np.zeros(len(values), dtype=np.result_type(values, np.int64))
    for column in values.T:
        found += column
    return found


def first(number: int, *keys: NDArray[Any]) -> NDArray[np.int64]:
    """Return the indexes of those that come first by ``keys``, the most important one first, in order.

    Equals come in the order of their indexes. To sort them all would take longer.
    """
    found = np.arange(len(keys[0]))
    if number < len(found):
        found = _among(found, number, keys)
    return found[np.lexsort([key[found] for key in reversed(keys)])]


def _among(equals: NDArray[np.int64], number: int, keys: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    """Return ``number`` of ``equals``, which are equal in all keys before these, by their indexes."""
    found = []
    for key in keys:
        if number == 0:
            break
        values = key[equals]
        last = np.partition(values, number - 1)[number - 1]
        found.append(equals[values < last])
        equals, number = equals[values == last], number - len(found[-1])
    return np.sort(np.concatenate([*found, equals[:number]]))
