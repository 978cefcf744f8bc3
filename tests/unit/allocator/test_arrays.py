"""What is told of many short rows."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gpupool.allocator.arrays import across, rows

TABLES = st.integers(0, 9).flatmap(
    lambda width: st.lists(st.lists(st.floats(-1e6, 1e6), min_size=width, max_size=width), min_size=1)
)


@given(TABLES)
def test_equal_rows_have_equal_sums_whatever_is_beside_them(table):
    values = np.array(table, dtype=np.float64)
    found = across(values)
    assert found.tolist() == [sum(row, 0.0) for row in table]
    assert found.tolist() == [float(across(values[at : at + 1])[0]) for at in range(len(table))]
    assert across(values > 0).tolist() == [sum(each > 0 for each in row) for row in table]


def test_rows_are_those_asked_for():
    values = np.arange(12).reshape(4, 3)
    assert rows(values, np.array([2, 0])).tolist() == [[6, 7, 8], [0, 1, 2]]
    assert rows(values, slice(None)).tolist() == values.tolist()
