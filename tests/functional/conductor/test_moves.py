"""Moves in any order of their steps, with crashes, other conductors and whatever a claim does meanwhile.

What a host has of a device is always held in Placement, a vGPU keeps its id, and in the end nothing is
left of any move.
"""

import shutil
import uuid

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gpupool.conductor.claims import moving
from gpupool.db import devices, moves
from gpupool.db.api import Database
from gpupool.model import errors
from gpupool.model.move import MoveState
from gpupool.model.states import ClaimState, VgpuState
from gpupool.placement import names
from tests.functional.conductor.lab import Lab, new_conf

STEPS = 25
EXAMPLES = 8


class Moves(RuleBasedStateMachine):
    """One host of three devices, and two conductors that make a move step by step."""

    template = placement = folder = None

    @initialize()
    def start(self):
        path = self.folder / f"{uuid.uuid4()}.sqlite"
        shutil.copy(self.template, path)
        database = Database.from_url(f"sqlite:///{path}")
        conf = new_conf()
        self.lab = Lab(conf, database, self.placement.client())
        self.labs = [self.lab, Lab(conf, database, self.placement.client())]
        self.labs[1].close()
        self.agent = self.lab.agent(devices=3)
        for compute in (20, 30, 40):
            self.lab.bound(self.agent, compute=compute, memory_mib=1024)
        self.ids = {vgpu.id for vgpu in self.lab.vgpus()}
        # By conductor what it believes to be doing.
        self.planned = [None, None]

    def teardown(self):
        if not hasattr(self, "lab"):
            return
        self.placement.come_back()
        for lab in self.labs:
            lab.abandon()
        for lab in (*self.labs, self.lab):
            lab.settle(self.agent)
        assert self.lab.moves() == []
        self.lab.check_books([self.agent])
        self.lab.close()
        self.lab.database.close()
        self.placement.empty()

    @rule(one=st.integers(0, 1), data=st.data(), steps=st.integers(1, 3))
    def begin(self, one, data, steps):
        """Plan a move, and go on for as many steps as there is to be no crash in between."""
        lab, own = self.labs[one], self.lab.vgpus()
        if self.planned[one] is not None or not own:
            return
        vgpu = data.draw(st.sampled_from(sorted(own, key=lambda each: each.index)))
        others = [each for each in self.lab.devices(self.agent) if each.id != vgpu.device_id]
        target = data.draw(st.sampled_from(others))
        move_id, inventory = str(uuid.uuid4()), lab.made.inventory
        lab.begin(move_id)
        try:
            made = lab.made.transactions.commit(moving.plan, move_id, vgpu.id, target.id, inventory)
        except errors.Conflict:
            lab.abandon()
        else:
            self.planned[one] = made
            for step in (self.ask_placement, self.switch)[: steps - 1]:
                step(one)

    @rule(one=st.integers(0, 1))
    def ask_placement(self, one):
        if self.planned[one] is not None:
            try:
                self.labs[one].made.allocations.move(self.planned[one])
            except errors.GpupoolError:
                self.undo(one)

    @rule(one=st.integers(0, 1))
    def switch(self, one):
        """Only one that Placement has agreed to; another conductor may have undone it since."""
        planned = self.planned[one]
        if planned is None or planned.id not in self.lab.allocated():
            return
        if self.labs[one].made.transactions.commit(moving.switch, planned.id):
            self.crash(one)
        else:
            self.undo(one)

    @rule(one=st.integers(0, 1))
    def undo(self, one):
        if self.planned[one] is not None:
            self.labs[one].made.moving.undo(self.planned[one])
            self.crash(one)

    @rule(one=st.integers(0, 1))
    def crash(self, one):
        """Forget the move: another conductor, or this one later, has to end it."""
        self.planned[one] = None
        self.labs[one].abandon()

    @rule(one=st.integers(0, 1))
    def take_for_gone(self, one):
        """Let one conductor take the other one for gone, which it is not."""
        lab = self.labs[one]
        lab.made.peers.look({lab.made.id: 1})
        lab.reconcile()

    @rule(one=st.integers(0, 1))
    def serve(self, one):
        self.labs[one].serve()

    @rule(one=st.integers(0, 1))
    def report(self, one):
        self.agent.apply(self.labs[one].take(self.agent.report()))

    @rule()
    def look(self):
        self.agent.look()

    @rule(data=st.data())
    @precondition(lambda self: len(self.lab.vgpus()) > 1)
    def release(self, data):
        bound = sorted({each.claim_id for each in self.lab.vgpus() if each.state == VgpuState.ACTIVE})
        if bound:
            self.lab.client.release_claim(self.lab.ctxt, data.draw(st.sampled_from(bound)))

    @rule()
    @precondition(lambda self: self.placement.fault is None)
    def placement_fails(self):
        self.placement.go("500 Internal Server Error")

    @rule()
    @precondition(lambda self: self.placement.fault is not None)
    def placement_is_back(self):
        self.placement.come_back()

    @invariant()
    def what_a_host_has_is_held(self):
        if not hasattr(self, "lab") or self.placement.fault is not None:
            return
        held = self.lab.allocated()
        with self.lab.database.reader() as session:
            keys = {device.key: device.id for device in devices.list_(session)}
            moved = {move.vgpu_id: move.id for move in moves.list_(session)}
        for spec in self.agent.vgpus.values():
            amounts = {names.COMPUTE: spec.compute, names.MEMORY_MIB: spec.memory_mib}
            consumers = (spec.id, moved.get(spec.id))
            found = [held[each].get(keys[spec.device_key]) for each in consumers if each in held]
            assert amounts in found

    @invariant()
    def nothing_is_given_twice(self):
        if not hasattr(self, "lab") or self.placement.fault is not None:
            return
        taken = {}
        for amounts in self.lab.allocated().values():
            for device_id, each in amounts.items():
                taken[device_id] = taken.get(device_id, 0) + each[names.COMPUTE]
        assert all(compute <= 100 for compute in taken.values())

    @invariant()
    def a_vgpu_keeps_its_id(self):
        if not hasattr(self, "lab"):
            return
        rows = {vgpu.id: vgpu for vgpu in self.lab.vgpus()}
        assert rows.keys() <= self.ids
        for move in self.lab.moves():
            where = move.target if move.state == MoveState.SWITCHING else move.source
            assert rows[move.vgpu_id].share == where

    @invariant()
    def a_move_ends_no_claim(self):
        if not hasattr(self, "lab"):
            return
        rows = self.lab.vgpus()
        leaving = {vgpu.claim_id for vgpu in rows if vgpu.state == VgpuState.REMOVING}
        for vgpu in rows:
            state = self.lab.claim_state(vgpu.claim_id)
            assert state == (ClaimState.RELEASING if vgpu.claim_id in leaving else ClaimState.BOUND)


@pytest.mark.timeout(600)
def test_any_order_of_steps(template, placement, tmp_path):
    class Here(Moves):
        pass

    Here.template, Here.placement, Here.folder = template, placement, tmp_path
    machine = Here.TestCase
    machine.settings = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    machine("runTest").runTest()
