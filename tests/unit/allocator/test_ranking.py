"""Rankings that are kept up to date decide as those made anew do."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpupool.allocator.capacities import HostCapacity
from gpupool.allocator.mix import Mix
from gpupool.allocator.plan import Plan
from gpupool.allocator.planning import plan
from gpupool.allocator.policies import make
from gpupool.allocator.ranking import Ranking
from gpupool.allocator.view import PoolView
from gpupool.model.claim import Layout, Qos
from gpupool.model.pool import PolicyName
from tests.unit.allocator.rooms import demand, demands, device, emptied, host, modest, pools

# Random is another one for every version of a view.
NAMES = [name for name in PolicyName if name != PolicyName.RANDOM]
COURSE = settings(deadline=None, max_examples=20)


def anew(view: PoolView) -> PoolView:
    """A view of the same that remembers nothing."""
    found = PoolView(view.capacities(), remote=view.remote)
    ids = [each.device_id for on in view.capacities() for each in on.devices]
    found.hold(each for each in ids if view.held[view.device_index[each]])
    return found


class Course:
    """A view that changes, with a policy that goes with it."""

    def __init__(self, rooms: list[HostCapacity], name: PolicyName, mix: Mix, remote: bool) -> None:
        self.view = PoolView(rooms, remote=remote)
        self.name, self.mix = name, mix
        self.policy = make(name, mix)
        self.running: list[tuple] = []
        self.ids = [each.device_id for on in rooms for each in on.devices]

    def plan(self, wanted):
        """Plan with all that is remembered, which must not make a difference."""
        found = plan(self.view, wanted, self.policy)
        assert found == plan(anew(self.view), wanted, make(self.name, self.mix))
        return found

    def take(self, wanted) -> None:
        found = self.plan(wanted)
        if isinstance(found, Plan):
            self.view.take(wanted, found)
            self.running.append((wanted, found))

    def give(self, number: int) -> None:
        if self.running:
            self.view.give(*self.running.pop(number % len(self.running)))

    def hold(self, number: int, held: bool) -> None:
        if self.ids:
            self.view.hold([self.ids[number % len(self.ids)]], held=held)

    def put(self, room: HostCapacity, number: int) -> None:
        """Replace a host by ``room`` with as many devices as the host has."""
        old = list(self.view.capacities())
        if not old:
            return
        chosen = old[number % len(old)]
        others = [*room.devices, *chosen.devices][: len(chosen.devices)]
        devices = [
            replace(new, device_id=each.device_id)
            for new, each in zip(others, chosen.devices, strict=True)
        ]
        self.view.put(replace(room, name=chosen.name, devices=tuple(devices)))
        # What was granted is not known of any more.
        gone = {each.device_id for each in devices}
        self.running = [
            (wanted, found)
            for wanted, found in self.running
            if found.host != chosen.name and not gone & set(found.device_ids)
        ]


numbers = st.integers(0, 100)
wishes = st.one_of(demands().map(modest), demands().map(modest), demands())
rooms = pools(least=1).map(lambda drawn: drawn[0])
steps = st.one_of(
    st.tuples(st.just("take"), numbers),
    st.tuples(st.just("take"), numbers),
    st.tuples(st.just("give"), numbers),
    st.tuples(st.just("hold"), numbers, st.booleans()),
    st.tuples(st.just("put"), rooms, numbers),
    st.tuples(st.just("add"), numbers, st.integers(1, 30)),
)


@pytest.mark.parametrize("name", NAMES)
@COURSE
@given(
    pools(least=4),
    st.lists(wishes, min_size=2, max_size=4),
    st.lists(steps, min_size=5, max_size=10),
    st.booleans(),
)
def test_what_is_remembered_makes_no_difference(name, hosts, wanted, taken, remote):
    course = Course(hosts, name, Mix(wanted[1:], window=40), remote)
    for step, *values in taken:
        if step == "take":
            course.take(wanted[values[0] % len(wanted)])
        elif step == "add":
            for _ in range(values[1]):
                course.mix.add(wanted[values[0] % len(wanted)])
        else:
            getattr(course, step)(*values)
        for each in wanted:
            course.plan(each)


def many(random: Random) -> list[HostCapacity]:
    """Hosts of three kinds, with more devices than any of the drawn ones."""
    hosts = []
    for number in range(10):
        product = random.choice(("slow", "fast"))
        devices = [
            device(
                f"{number}/{slot}",
                product=product,
                link_group="link" if product == "fast" else "",
                compute_limit=random.choice((100, 130)),
            )
            for slot in range(random.choice((2, 8, 16)))
        ]
        cpu = random.choice((16_000, 64_000))
        hosts.append(host(f"host-{number}", *devices, cpu_total=cpu, cpu_free=cpu))
    return hosts


@pytest.mark.parametrize(
    ("name", "remote"),
    [
        (PolicyName.FGD, False),
        (PolicyName.FGD, True),
        (PolicyName.BEST_FIT, True),
        (PolicyName.PACK, False),
        (PolicyName.SPREAD, True),
    ],
)
def test_nor_on_a_pool_that_fills_up_and_drains(name, remote):
    random = Random(name)
    kinds = [
        demand(count=count, compute=compute, memory_mib=memory, cpu_milli=cpu, **changes)
        for count, compute, memory, cpu in ((1, 50, 300, 2000), (1, 81, 0, 0), (2, 100, 0, 9000))
        for changes in ({}, {"layout": Layout.PACK}, {"qos": Qos.BEST_EFFORT})
    ]
    kinds += [
        demand(count=0, compute=0, memory_mib=0, cpu_milli=4000),
        demand(count=12, compute=10, memory_mib=50, same_type=True),
        demand(count=8, compute=100, memory_mib=1000, linked=True),
        demand(compute=7, memory_mib=10, products=("slow",)),
    ]
    course = Course(many(random), name, Mix(window=40), remote)
    refused = 0
    for step in range(180):
        wanted = random.choice(kinds)
        course.mix.add(wanted)
        before = len(course.running)
        course.take(wanted)
        refused += len(course.running) == before
        # It fills up first, and has places of all sizes after that.
        if step > 80 and random.random() < 0.6:
            course.give(random.randrange(1000))
    assert refused


class Asked:
    """A policy as it is, that notes about how many hosts it is asked."""

    def __init__(self, policy, alike) -> None:
        self.alike, self.hosts = alike, 0
        self._policy = policy
        self.basis, self.prices, self.host_cost = policy.basis, policy.prices, policy.host_cost

    def device_cost(self, view, wanted, hosts, program):
        self.hosts += len(hosts)
        return self._policy.device_cost(view, wanted, hosts, program)


def copies(rooms: list[HostCapacity], count: int) -> list[HostCapacity]:
    """So many of each host, with devices of their own."""
    return [
        replace(
            on,
            name=f"{on.name}/{number}",
            devices=tuple(replace(each, device_id=f"{each.device_id}/{number}") for each in on.devices),
        )
        for on in rooms
        for number in range(count)
    ]


@pytest.mark.parametrize("name", NAMES)
@COURSE
@given(
    pools(least=3).map(emptied),
    pools(least=1),
    demands(),
    st.lists(demands(), max_size=3).map(Mix),
    st.booleans(),
)
def test_hosts_that_are_alike_cost_the_same(name, untouched, touched, wanted, mix, program):
    others = [replace(on, name=f"other-{on.name}") for on in touched]
    others = copies(others, 2)
    view = PoolView([*copies(untouched, 3), *others])
    policy = make(name, mix)
    found = Ranking(view, wanted, policy, program)
    each = Ranking(view, wanted, Asked(policy, alike=False), program)
    found.refresh(view)
    each.refresh(view)
    assert found.cost.tolist() == each.cost.tolist()
    assert found.slot.tolist() == each.slot.tolist()


def test_of_hosts_that_are_alike_one_is_ranked():
    view = PoolView(copies([host("a", device("a")), host("b", device("b"), device("c"))], 100))
    policy = Asked(make(PolicyName.FGD, Mix([demand()])), alike=True)
    for number in range(3):
        found = plan(view, demand(), policy)
        assert isinstance(found, Plan)
        view.take(demand(), found)
        # The first of both kinds; then those that have changed.
        assert policy.hosts == 2 + number


def test_gangs_of_vgpus_of_one_size_share_what_is_known_of_devices():
    view = PoolView(
        copies([host("a", device("a")), host("b", device("b"), device("c"))], 10), remote=True
    )
    policy = Asked(make(PolicyName.FGD, Mix([demand()])), alike=False)
    for count in range(5, 20):
        for layout in Layout:
            wanted = demand(count=count, compute=60, layout=layout, same_type=count % 2 == 0)
            assert isinstance(plan(view, wanted, policy), Plan)
            # No host takes three; so all are asked about once, without the program.
            assert policy.hosts == 20


def test_one_policy_serves_one_view_after_another():
    # They come and go, at the same address too; in each another device is the better one.
    policy = make(PolicyName.FGD, Mix([demand(compute=100, products=("fast",))]))
    for turn in range(20):
        products = ("slow", "fast") if turn % 2 else ("fast", "slow")
        devices = [device(each, product=each) for each in products]
        renamed = [replace(each, device_id=name) for each, name in zip(devices, "ab", strict=True)]
        found = plan(PoolView([host("host-a", *renamed)]), demand(), policy)
        assert isinstance(found, Plan)
        assert found.device_ids == ("ab"[products.index("slow")],)
