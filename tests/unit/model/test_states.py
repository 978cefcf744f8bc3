"""Every pair of states of every table, against the tables of the architecture written out once more."""

from itertools import product

import pytest

from gpupool.model import errors, states
from gpupool.model.states import AttachmentState, ClaimState, VgpuState

# One line a state: what may follow. Written from DESIGN section 6, not from the code's tables.
CLAIM = """
queued      allocating released expired failed
allocating  binding queued releasing
binding     bound releasing
bound       releasing
releasing   released expired failed suspended queued
suspended   queued released expired
released
failed
expired
"""
VGPU = """
planned   active removing
active    planned removing
removing
"""
ATTACHMENT = """
pending   ready failed removing
ready     failed removing
failed    ready removing
removing
"""
TABLES = (
    (states.CLAIM, ClaimState, CLAIM),
    (states.VGPU, VgpuState, VGPU),
    (states.ATTACHMENT, AttachmentState, ATTACHMENT),
)


def pairs():
    for table, kind, text in TABLES:
        lines = [line.split() for line in text.split("\n") if line]
        allowed = {line[0]: set(line[1:]) for line in lines}
        for old, new in product(kind, kind):
            yield pytest.param(table, old, new, new in allowed[old], id=f"{kind.__name__}-{old}-{new}")


@pytest.mark.parametrize(("table", "old", "new", "allowed"), list(pairs()))
def test_a_pair_of_states(table, old, new, allowed):
    if allowed:
        states.check(table, old, new)
        return
    with pytest.raises(errors.Conflict, match=f"^{old} cannot become {new}; allowed: ") as caught:
        states.check(table, old, new)
    following = caught.value.message.partition("allowed: ")[2]
    assert following == (", ".join(sorted(table[old])) or "nothing")


@pytest.mark.parametrize(("table", "kind", "text"), TABLES)
def test_a_table_speaks_of_every_state(table, kind, text):
    assert set(table) == set(kind)


def test_every_claim_can_end():
    for start in ClaimState:
        reached, left = {start}, [start]
        while left:
            new = states.CLAIM[left.pop()] - reached
            reached |= new
            left += new
        assert reached & states.ENDED, f"{start} never ends"


def test_ended_states_are_those_that_nothing_leaves():
    assert {ClaimState.RELEASED, ClaimState.FAILED, ClaimState.EXPIRED} == states.ENDED


def test_a_claim_that_holds_vgpus_ends_by_releasing_only():
    """What holds allocations is taken apart in one way, so that none is forgotten."""
    for old in states.HOLDING - {ClaimState.RELEASING}:
        assert not states.CLAIM[old] & (states.ENDED | {ClaimState.SUSPENDED})
