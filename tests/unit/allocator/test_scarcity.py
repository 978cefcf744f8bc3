"""What a device costs more where its class is scarce for the claims that name it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gpupool.allocator.mix import Mix
from gpupool.allocator.plan import Plan
from gpupool.allocator.planning import NoRoom, plan
from gpupool.allocator.policies import make
from gpupool.allocator.scarcity import Scarcity
from gpupool.allocator.view import PoolView
from gpupool.model.claim import Qos
from gpupool.model.pool import PolicyName
from tests.unit.allocator.rooms import demand, demands, device, host, may_spread, pools

UNHURRIED = settings(deadline=None, max_examples=60)
ANY, FAST = demand(compute=100), demand(compute=100, products=("fast",))


def pool(fast: int, slow: int) -> list:
    """Hosts of one device."""
    return [
        host(f"{product}-{number}", device(f"{product}/{number}", product=product))
        for product, count in (("fast", fast), ("slow", slow))
        for number in range(count)
    ]


def prices(view: PoolView, mix: Mix) -> dict[str, float]:
    found = Scarcity(view.classes, mix.weights).prices(view)
    return {kind.product: float(cost) for kind, cost in zip(view.classes, found, strict=True)}


def test_a_class_costs_more_by_the_share_of_those_that_need_it_over_its_part_of_the_pool():
    # Half of the mix needs what is a quarter of the pool: as often as that goes into all, less once.
    found = prices(PoolView(pool(fast=2, slow=6)), Mix([ANY, FAST]))
    assert found == {"fast": pytest.approx(0.5 * (4 - 1)), "slow": 0.0}


def test_what_is_granted_makes_a_class_scarcer():
    view = PoolView(pool(fast=2, slow=6))
    mix = Mix([ANY, FAST])
    before = prices(view, mix)["fast"]
    taken = plan(view, FAST, make(PolicyName.BEST_FIT, mix))
    assert isinstance(taken, Plan)
    view.take(FAST, taken)
    assert prices(view, mix)["fast"] == pytest.approx(0.5 * (7 - 1))
    view.give(FAST, taken)
    assert prices(view, mix)["fast"] == before


def test_all_is_even_where_all_may_have_everything():
    view = PoolView(pool(fast=1, slow=1))
    assert Scarcity(view.classes, Mix([ANY, demand(compute=30)]).weights).is_even
    assert not Scarcity(view.classes, Mix([ANY, FAST]).weights).is_even
    assert make(PolicyName.FGD, Mix([ANY])).prices(view, ANY) is None


def test_best_effort_goes_by_what_is_lent():
    rooms = [
        host("fast", device("a", product="fast", compute_limit=200)),
        host("slow", device("b", product="slow", compute_limit=100)),
    ]
    lent = replace(FAST, qos=Qos.BEST_EFFORT)
    assert prices(PoolView(rooms), Mix([ANY, lent]))["fast"] == pytest.approx(0.5 * (3 / 2 - 1))
    assert prices(PoolView(rooms), Mix([ANY, FAST]))["fast"] == pytest.approx(0.5 * (2 - 1))


def test_devices_that_are_not_in_order_are_none():
    rooms = pool(fast=2, slow=2)
    closed = [replace(rooms[0], closed="its disk is full"), *rooms[1:]]
    assert prices(PoolView(closed), Mix([ANY, FAST]))["fast"] == pytest.approx(0.5 * (3 - 1))
    view = PoolView(rooms)
    assert prices(view, Mix([ANY, FAST]))["fast"] == pytest.approx(0.5 * (2 - 1))
    view.put(closed[0])
    assert prices(view, Mix([ANY, FAST]))["fast"] == pytest.approx(0.5 * (3 - 1))


def test_classes_that_are_gone_change_no_price():
    rooms = pool(fast=2, slow=2)
    view = PoolView([*rooms, host("old", device("old", traits=frozenset({"CUSTOM_A"})))])
    view.put(host("old", device("old", product="slow")))
    mix = Mix([ANY, FAST, demand(required_traits=("CUSTOM_A",))])
    anew = PoolView(view.capacities())
    before = dict(zip(view.classes, Scarcity(view.classes, mix.weights).prices(view), strict=True))
    after = zip(anew.classes, Scarcity(anew.classes, mix.weights).prices(anew), strict=True)
    assert all(before[kind] == cost for kind, cost in after)


@pytest.mark.parametrize("one_host", [False, True])
def test_those_that_name_a_scarce_product_find_it(one_host):
    """As much is asked for as there is; by fragments alone, "fast" is as good for all as "slow"."""
    rooms = pool(fast=10, slow=10)
    if one_host:
        rooms = [host("one", *(each for on in rooms for each in on.devices))]
    # Four tenths of what is asked for is fast, half of what there is: some of it is for the others.
    asked = [ANY, FAST, ANY, FAST, ANY] * 4
    view = PoolView(rooms)
    policy = make(PolicyName.FGD, Mix(asked))
    for each in asked:
        found = plan(view, each, policy)
        assert isinstance(found, Plan), each
        view.take(each, found)


def test_a_gang_goes_where_less_is_scarce_and_one_on_a_mixed_host_pays_for_what_it_takes():
    def devices(name, *products):
        return [device(f"{name}/{at}", product=each) for at, each in enumerate(products)]

    rooms = [
        host("a", *devices("a", "fast", "fast")),
        host("b", *devices("b", "fast", "slow")),
        host("c", *devices("c", "slow", "slow")),
        *pool(fast=0, slow=8),
    ]
    gang = demand(count=2, compute=100)
    view = PoolView(rooms)
    policy = make(PolicyName.FGD, Mix([gang, replace(FAST, count=2)]))
    order = []
    for _ in range(3):
        found = plan(view, gang, policy)
        assert isinstance(found, Plan)
        view.take(gang, found)
        order.append(found.host)
    assert order == ["c", "b", "a"]


@UNHURRIED
@given(
    pools(least=2),
    demands(least=1),
    st.lists(demands(least=1), min_size=1, max_size=4).map(Mix),
    st.booleans(),
)
def test_one_vgpu_has_the_cheapest_of_all_places_with_what_is_scarce(rooms, wanted, mix, remote):
    wanted = replace(wanted, count=1, compute=wanted.compute % 20 + 1, memory_mib=0)
    view, policy = PoolView(rooms, remote=remote), make(PolicyName.FGD, mix)
    found = plan(view, wanted, policy)
    assume(not isinstance(found, NoRoom))
    assert isinstance(found, Plan)
    dearer = policy.prices(view, wanted)
    program = found.remote == 0
    cost = policy.device_cost(view, wanted, np.arange(len(rooms)), program)
    if dearer is not None:
        cost = cost + dearer[view.device_class]
    (taken,) = found.device_ids
    possible = {}
    for device_id, (on, at) in view.device_index.items():
        named = (not wanted.devices or device_id in wanted.devices) and wanted.host in (
            None,
            view.hosts[on],
        )
        one = replace(wanted, devices=(device_id,), host=view.hosts[on])
        one = one if program else replace(one, cpu_milli=0, host_memory_mib=0)
        if named and isinstance(plan(PoolView(rooms), one, make(PolicyName.BEST_FIT, mix)), Plan):
            possible[device_id] = cost[on, at]
    assert possible[taken] == pytest.approx(min(possible.values()))
    assert program or may_spread(wanted, remote)
