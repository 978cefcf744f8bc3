"""What NumPy takes long for where rows are many and short, as those of hosts and their devices are."""

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
