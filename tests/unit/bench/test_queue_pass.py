"""What the bench of the queue's passes measures, on few hosts; no time is looked at."""

import argparse

import numpy as np

from bench import queue_pass


def test_room_is_kept_for_more_claims_in_passes_on_a_full_pool() -> None:
    one, eight = (queue_pass.Queue(160, number, seed=1).run(10) for number in (1, 8))
    assert len(one.processor) == len(one.clock) == 10
    assert 1 <= np.mean(one.kept) < np.mean(eight.kept) <= 8


def test_there_is_a_line_for_each_number_of_reservations() -> None:
    given = argparse.Namespace(devices=160, passes=2, rounds=1, reservations=[1, 2])
    *_, one, two = queue_pass.table(given)
    assert one.split()[0] == "1"
    assert one.split()[-2:] == ["1.00", "1.00"]
    assert two.split()[0] == "2"
