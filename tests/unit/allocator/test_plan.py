"""Plans on pools small enough to see what has to come out."""

import pytest

from gpupool.allocator.plan import Plan
from gpupool.allocator.planning import NoRoom, plan
from gpupool.allocator.policies import BestFit, Spread
from gpupool.allocator.view import PoolView
from gpupool.model.claim import Layout, Qos, Tier
from gpupool.model.device import SharingMode
from tests.unit.allocator.rooms import demand, device, host

POLICY = BestFit()


def planned(hosts, wanted, policy=POLICY, remote=False) -> Plan:
    outcome = plan(PoolView(hosts, remote=remote), wanted, policy)
    assert isinstance(outcome, Plan), outcome
    return outcome


def chosen(devices, wanted, policy=POLICY):
    """The devices that are taken of one host."""
    return planned([host("host-a", *devices)], wanted, policy).device_ids


def refused(hosts, wanted, remote=False) -> NoRoom:
    outcome = plan(PoolView(hosts, remote=remote), wanted, POLICY)
    assert isinstance(outcome, NoRoom), outcome
    return outcome


def test_best_fit_takes_the_tightest_device():
    devices = [
        device("a"),
        device("b", compute_free=30, memory_free=300),
        device("c", compute_free=20),
        device("d", compute_free=50),
    ]
    assert chosen(devices, demand()) == ("b",)


def test_memory_counts_as_much_as_compute():
    devices = [device("a", compute_free=60), device("b", memory_free=500), device("c", compute_free=70)]
    assert chosen(devices, demand()) == ("b",)


def test_a_share_fits_exactly():
    assert chosen([device("a", compute_free=25, memory_free=250)], demand()) == ("a",)


@pytest.mark.parametrize("short", [{"compute_free": 24}, {"memory_free": 249}])
def test_one_unit_short_is_no_room(short):
    assert not refused([host("host-a", device("a", **short))], demand()).impossible


def test_vgpus_go_to_different_devices_where_there_are_enough():
    devices = [device("a"), device("b"), device("c", compute_free=30)]
    assert sorted(chosen(devices, demand(count=3))) == ["a", "b", "c"]


def test_a_host_with_enough_devices_goes_before_a_tighter_one_without():
    hosts = [host("tight", device("a", compute_free=50)), host("wide", device("b"), device("c"))]
    assert sorted(planned(hosts, demand(count=2)).device_ids) == ["b", "c"]


def test_packed_vgpus_share_a_device_although_there_are_others():
    devices = [device("a"), device("b"), device("c", compute_free=80)]
    assert chosen(devices, demand(count=3, layout=Layout.PACK)) == ("c", "c", "c")


def test_vgpus_share_devices_evenly_when_there_are_too_few():
    devices = [device("a"), device("b")]
    assert sorted(chosen(devices, demand(count=5, compute=20, memory_mib=100))) == list("aaabb")


def test_no_vgpu_shares_a_device_that_is_full():
    devices = [device("a", compute_free=25), device("b")]
    assert sorted(chosen(devices, demand(count=4))) == list("abbb")


def test_a_claim_is_never_split_over_hosts_where_that_is_not_allowed():
    hosts = [host("host-a", device("a")), host("host-b", device("b"))]
    outcome = refused(hosts, demand(count=2, compute=60))
    assert outcome.impossible
    assert outcome.filters == (("compute", 2), ("memory", 2), ("2 on one host", 0))


def test_a_remote_pool_gathers_devices_of_several_hosts():
    hosts = [host("host-a", device("a")), host("host-b", device("b"))]
    found = planned(hosts, demand(count=2, compute=60), remote=True)
    assert sorted(found.device_ids) == ["a", "b"]
    assert (found.host, found.remote) == ("host-a", 1)


@pytest.mark.parametrize(
    "bound", [{"same_host": True}, {"linked": True}, {"tier": Tier.LOCAL}, {"host": "host-a"}]
)
def test_a_bound_claim_is_not_gathered(bound):
    hosts = [host("host-a", device("a")), host("host-b", device("b"))]
    outcome = refused(hosts, demand(count=2, compute=60, **bound), remote=True)
    assert outcome.filters[-1][0].startswith("2 on one host")


def test_a_program_is_beside_most_of_its_devices_that_are_not_on_one_host():
    hosts = [host("host-a", device("a")), host("host-b", device("b"), device("c"))]
    found = planned(hosts, demand(count=3, compute=60), remote=True)
    assert (found.host, found.remote) == ("host-b", 1)


def test_a_device_is_remote_only_where_local_has_no_room():
    hosts = [host("host-a", device("a", compute_free=30), cpu_free=0), host("host-b", device("b"))]
    wanted = demand(cpu_milli=1000)
    local = planned(hosts, wanted, remote=True)
    assert (local.host, local.device_ids, local.remote) == ("host-b", ("b",), 0)
    full = [hosts[0], host("host-b", device("b", compute_free=0))]
    found = planned(full, wanted, remote=True)
    assert (found.host, found.device_ids, found.remote) == ("host-b", ("a",), 1)


def test_a_program_without_vgpus_takes_the_tightest_host():
    hosts = [host("host-a"), host("host-b", cpu_free=2000), host("host-c", cpu_free=500)]
    wanted = demand(count=0, compute=0, memory_mib=0, cpu_milli=1000)
    assert planned(hosts, wanted) == Plan(host="host-b", shares=())


def test_a_program_without_vgpus_is_told_about_hosts():
    wanted = demand(count=0, compute=0, memory_mib=0, cpu_milli=1500, host_memory_mib=1)
    outcome = refused([host("host-a", cpu_free=1000), host("host-b", up=False)], wanted)
    assert not outcome.impossible
    assert outcome.filters == (("host up", 1), ("host CPU and memory", 0))
    assert outcome.reason.text == "1.5 cores of one host wanted; the host with most has 1 core free"
    assert outcome.reason.detail == "2 hosts in the pool, 1 after host up, 0 after host CPU and memory"


def test_no_room_now_says_which_filter_left_how_many_devices():
    devices = [
        device("a", traits={"CUSTOM_A"}, compute_free=10),
        device("b", traits={"CUSTOM_A"}),
        device("c", traits={"CUSTOM_A", "CUSTOM_B"}, usable=False),
        device("e"),
    ]
    down = host("host-b", device("d", traits={"CUSTOM_A"}), up=False)
    wanted = demand(required_traits=("CUSTOM_A",), forbidden_traits=("CUSTOM_B",), memory_mib=1000)
    outcome = refused([host("host-a", *devices[:1], *devices[2:]), down], wanted)
    assert not outcome.impossible
    assert outcome.filters == (
        ("required traits", 3),
        ("forbidden traits", 2),
        ("enabled and healthy", 2),
        ("host up", 1),
        ("compute", 0),
        ("memory", 0),
        ("1 on one host", 0),
    )
    assert outcome.reason.detail == (
        "4 devices in the pool, 3 after required traits, 2 after forbidden traits,"
        " 2 after enabled and healthy, 1 after host up, 0 after compute"
    )
    assert planned([host("host-a", *devices), down], wanted).device_ids == ("b",)


def test_every_filter_that_decides_is_named():
    devices = [
        device("a", product="fast"),
        device("b", product="slow"),
        device("c", product="fast", sharing_mode=SharingMode.EXCLUSIVE),
    ]
    view = PoolView([host("host-a", *devices, cpu_free=0)], remote=True)
    view.hold(["a"])
    wanted = demand(
        count=2, products=("fast",), devices=("a", "b", "c"), host="host-a", cpu_milli=1, linked=True
    )
    outcome = plan(view, wanted, POLICY)
    assert isinstance(outcome, NoRoom)
    assert outcome.impossible
    assert outcome.filters == (
        ("named devices", 3),
        ("host host-a", 3),
        ("sharing mode shared", 2),
        ("product", 1),
        ("compute", 1),
        ("memory", 1),
        ("host CPU and memory", 1),
        ("2 on one host, linked", 0),
    )
    later = plan(view, demand(products=("fast",)), POLICY)
    assert isinstance(later, NoRoom)
    assert ("not kept for claims before it", 0) in later.filters


def test_linked_devices_are_of_one_group():
    devices = [
        device("a", link_group="x"),
        device("b", link_group="y"),
        device("c", compute_free=60),
        device("d", link_group="y"),
    ]
    assert sorted(chosen(devices, demand(count=2, compute=60, linked=True))) == ["b", "d"]


def test_devices_of_one_type_are_of_one_product():
    devices = [
        device("a", product="fast"),
        device("b", product="slow", compute_free=60),
        device("c", product="fast"),
    ]
    assert sorted(chosen(devices, demand(count=2, compute=60, same_type=True))) == ["a", "c"]


def test_the_type_that_costs_least_is_gathered():
    used = [
        host(f"host-{number}", device(f"used-{number}", product="slow", compute_free=60))
        for number in range(3)
    ]
    idle = [host(f"host-{number}", device(f"idle-{number}", product="fast")) for number in range(3, 6)]
    wanted = demand(count=3, compute=60, memory_mib=0, same_type=True)
    taken = plan(PoolView([*used, *idle], remote=True), wanted, POLICY)
    assert taken.device_ids == ("used-0", "used-1", "used-2")


def test_linked_devices_may_have_to_be_of_one_product_too():
    pair = device("a", link_group="x", product="slow"), device("b", link_group="x", product="fast")
    more = device("c", link_group="y", product="slow"), device("d", link_group="y", product="slow")
    wanted = demand(count=2, compute=100, linked=True, same_type=True)
    assert refused([host("host-a", *pair)], wanted).filters[-1] == (
        "2 on one host, linked, of one type",
        0,
    )
    assert set(planned([host("host-a", *pair), host("host-b", *more)], wanted).device_ids) == {"c", "d"}


def test_best_effort_claims_take_what_is_beyond_a_device():
    lent = device("a", compute_free=0, compute_limit=150)
    assert not refused([host("host-a", lent)], demand(memory_mib=0)).impossible
    assert chosen([lent], demand(memory_mib=0, qos=Qos.BEST_EFFORT)) == ("a",)
    assert refused([host("host-a", lent)], demand(compute=51, qos=Qos.BEST_EFFORT))


def test_a_claim_bigger_than_every_device_is_impossible():
    outcome = refused([host("host-a", device("a", compute_free=0))], demand(memory_mib=1001))
    assert outcome.impossible
    assert outcome.filters == (("compute", 1), ("memory", 0), ("1 on one host", 0))


@pytest.mark.parametrize(
    "trouble",
    [
        host("host-a", device("a", usable=False)),
        host("host-a", device("a"), up=False),
        host("host-a", device("a", compute_free=0)),
        host("host-a", device("a"), cpu_free=0),
    ],
)
def test_what_may_pass_is_not_impossible(trouble):
    assert not refused([trouble], demand(cpu_milli=1)).impossible


@pytest.mark.parametrize("hosts", [[], [host("host-a")]])
def test_a_pool_without_devices_is_not_impossible(hosts):
    outcome = refused(hosts, demand(count=7))
    assert not outcome.impossible
    assert "0 devices in the pool" in outcome.reason.detail


@pytest.mark.parametrize(
    "place",
    [
        {"host": "host-z"},
        {"devices": ("z",)},
        {"required_traits": ("CUSTOM_Z",)},
        {"products": ("unknown",)},
    ],
)
def test_a_place_that_does_not_exist_is_impossible(place):
    assert refused([host("host-a", device("a"))], demand(**place)).impossible


def test_named_devices_and_host_are_kept_to():
    hosts = [host("host-a", device("a")), host("host-b", device("b"), device("c"))]
    assert planned(hosts, demand(devices=("c",))).device_ids == ("c",)
    assert planned(hosts, demand(host="host-b")).device_ids == ("b",)


def test_equal_devices_are_taken_in_the_order_of_host_and_id():
    hosts = [host("host-b", device("b"), device("a")), host("host-a", device("z"))]
    assert planned(hosts, demand()).device_ids == ("z",)


def test_another_policy_takes_the_place_of_best_fit():
    devices = [device("a", compute_free=40), device("b", compute_free=90)]
    assert chosen(devices, demand()) == ("a",)
    assert chosen(devices, demand(), Spread()) == ("b",)
