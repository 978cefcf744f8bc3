"""Whatever happens in whatever order, with two conductors that both lead.

View = database = Placement = hosts in the end, and never over capacity in between.
"""

import shutil
import uuid
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gpupool.db import claims, devices, moves, vgpus
from gpupool.db.api import Database
from gpupool.model.claim import Qos
from gpupool.model.move import MoveState
from gpupool.model.pool import PoolChange
from gpupool.model.states import ENDED, ClaimState
from tests.functional.conductor.lab import Lab, new_conf

STEPS = 14
LIMIT = 120  # Percent of a device that may be granted in all.
EXAMPLES = 8


class Interleavings(RuleBasedStateMachine):
    """Two hosts of two devices each; agents and the conductors' threads move when a rule says so."""

    template = placement = folder = None

    @initialize()
    def start(self):
        path = self.folder / f"{uuid.uuid4()}.sqlite"
        shutil.copy(self.template, path)
        conf = new_conf()
        conf.set_override("min_run_time", 0, group="queue")
        self.lab = Lab(conf, Database.from_url(f"sqlite:///{path}"), self.placement.client())
        self.labs = [self.lab, Lab(conf, self.lab.database, self.placement.client())]
        self.labs[1].close()
        self.agents = [self.lab.agent(devices=2) for _ in range(2)]
        self.pool_id = self.lab.host(self.agents[0]).pool_id
        self.lab.client.update_pool(self.lab.ctxt, self.pool_id, PoolChange(compute_overcommit=LIMIT))
        self.old = []

    def teardown(self):
        if not hasattr(self, "lab"):
            return
        self.placement.come_back()
        for agent in self.agents:
            agent.error = ""
            agent.look()
        for claim in self.claims():
            if claim.state not in ENDED and claim.release_to not in ENDED:
                self.lab.release(claim)
        for lab in (*self.labs, self.lab):
            lab.settle(*self.agents)
        for lab in self.labs:
            lab.check_books(self.agents)
        assert {claim.state for claim in self.claims()} <= ENDED
        assert not self.lab.vgpus()
        assert not self.lab.allocated()
        assert not any(agent.vgpus for agent in self.agents)
        self.lab.close()
        self.lab.database.close()
        self.placement.empty()

    def claims(self):
        with self.lab.database.reader() as session:
            return claims.list_(session)

    @rule(
        compute=st.sampled_from([1, 30, 50, 100]),
        memory_mib=st.sampled_from([1, 1000, 4096]),
        count=st.integers(1, 2),
        priority=st.integers(0, 100),
        qos=st.sampled_from(Qos),
        preemptible=st.booleans(),
        more=st.sampled_from([0, 0, 1, 2]),
    )
    def claim(self, count, more, **wishes):
        elastic = {"min_count": count, "max_count": count + more}
        self.lab.create(**(elastic if more else {"count": count}), **wishes)

    @rule(data=st.data())
    def release(self, data):
        live = [
            claim
            for claim in self.claims()
            if claim.state not in ENDED and claim.release_to not in ENDED
        ]
        if live:
            self.lab.release(data.draw(st.sampled_from(live)))

    @rule(one=st.integers(0, 1))
    def serve(self, one):
        self.labs[one].serve()

    @rule(one=st.integers(0, 1))
    def reconcile(self, one):
        self.labs[one].reconcile()

    @rule(one=st.integers(0, 1))
    def defragment(self, one):
        self.labs[one].made.defragmenting.defragment(self.pool_id, False, 2)

    @rule(number=st.integers(0, 1), one=st.integers(0, 1))
    def report(self, number, one):
        """Report, and converge only the next time."""
        agent = self.agents[number]
        self.old.append((agent, agent.report()))
        agent.apply(self.labs[one].take(agent.report()))

    @rule(number=st.integers(0, 1))
    def look(self, number):
        self.agents[number].look()

    @rule(data=st.data())
    def late_report(self, data):
        if self.old:
            agent, report = data.draw(st.sampled_from(self.old))
            agent.send(report)

    @rule(number=st.integers(0, 1))
    def fall_silent(self, number):
        self.lab.silence(self.agents[number])

    @rule(number=st.integers(0, 1), error=st.sampled_from(["", "refused"]))
    def refuse(self, number, error):
        self.agents[number].error = error

    @rule()
    @precondition(lambda self: self.placement.fault is None)
    def placement_fails(self):
        self.placement.go("500 Internal Server Error")

    @rule()
    @precondition(lambda self: self.placement.fault is not None)
    def placement_is_back(self):
        self.placement.come_back()

    @invariant()
    def never_over_capacity(self):
        if not hasattr(self, "lab"):
            return
        with self.lab.database.reader() as session:
            known = {device.id: device for device in devices.list_(session)}
            hosts = {device.host_id for device in known.values()}
            for device_id, granted in vgpus.usage(session, host_id=hosts).items():
                assert granted.compute_guaranteed <= 100
                assert granted.compute <= LIMIT
                assert granted.memory_mib <= known[device_id].memory_mib

    @invariant()
    def a_bound_claim_has_what_it_counts(self):
        if not hasattr(self, "lab"):
            return
        rows = Counter(vgpu.claim_id for vgpu in self.lab.vgpus() if vgpu.counted)
        for claim in self.claims():
            least, most = claim.min_count or claim.count, claim.max_count or claim.count
            assert least <= claim.count <= most
            if claim.state == ClaimState.BOUND:
                assert rows[claim.id] == claim.count

    @invariant()
    def bound_means_allocated(self):
        """Every grant is an allocation before the claim is bound, and as long as it is."""
        if not hasattr(self, "lab") or self.placement.fault is not None:
            return
        held = self.lab.allocated()
        bound = {claim.id for claim in self.claims() if claim.state == ClaimState.BOUND}
        with self.lab.database.reader() as session:
            waits = [MoveState.PLANNED, MoveState.UNDOING]
            planned = {move.vgpu_id for move in moves.list_(session, {"state": waits})}
        for vgpu in self.lab.vgpus():
            # By one without generation its claim is to grow; one that moves may have its target there.
            if vgpu.claim_id in bound and vgpu.generation and vgpu.id not in planned:
                amounts = held[vgpu.id][vgpu.device_id]
                assert sorted(amounts.values()) == sorted([vgpu.compute, vgpu.memory_mib])


@pytest.mark.timeout(600)
def test_any_interleaving(template, placement, tmp_path):
    class Here(Interleavings):
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
