"""Why there is no room, as the one who asked for it reads it."""

from gpupool.allocator import filters, shortage
from gpupool.allocator.planning import no_room
from gpupool.allocator.view import PoolView
from gpupool.model.claim import Layout
from tests.unit.allocator.rooms import demand, device, host

FULL = {"compute_free": 0, "memory_free": 0}
SECRET = "its-disk-is-full"


def said(hosts, wanted, remote=False) -> str:
    """The sentence for a demand that these hosts have no room for."""
    found = no_room(PoolView(hosts, remote=remote), wanted)
    assert not found.reason.text[0].isupper()
    assert not found.reason.text.endswith(".")
    return found.reason.text


def test_devices_on_one_host_count_those_that_are_free():
    hosts = [
        host("a", device("a1"), device("a2"), device("a3", **FULL)),
        host("b", device("b1"), device("b2", **FULL), device("b3", **FULL)),
    ]
    assert said(hosts, demand(count=3, compute=100)) == (
        "3 devices on one host wanted; the largest host has 2 free"
    )
    shares = demand(count=9, compute=50, memory_mib=400)
    assert "shares of 50 % and 400 MiB on one host wanted" in said(hosts, shares)
    fewer = demand(count=5, compute=50, memory_mib=400)
    assert said(hosts, fewer) == (
        "5 shares of 50 % and 400 MiB on one host wanted; the largest host has room for 4"
    )


def test_devices_of_one_link_or_type_are_counted_by_group():
    linked = [
        device("a", link_group="x"),
        device("b", link_group="y"),
        device("c", link_group="y", **FULL),
    ]
    assert said([host("a", *linked)], demand(count=2, compute=100, linked=True)) == (
        "2 devices on one host, connected by a fast link, wanted; the largest such group has 1 free"
    )
    mixed = [
        device("a", product="fast"),
        device("b", product="slow"),
        device("c", product="slow", **FULL),
    ]
    assert said([host("a", *mixed)], demand(count=2, compute=100, same_type=True)) == (
        "2 devices on one host of one type wanted; the largest host has 1 free"
    )


def test_a_remote_pool_counts_all_hosts():
    hosts = [host(name, device(f"{name}1"), device(f"{name}2", **FULL)) for name in "ab"]
    assert said(hosts, demand(count=3, compute=100), remote=True) == (
        "3 devices wanted; the pool has 2 free"
    )


def test_one_share_is_compared_with_the_largest_that_is_free():
    hosts = [host("a", device("a1", memory_free=500), device("a2", memory_free=300, compute_free=20))]
    assert said(hosts, demand(memory_mib=800)) == (
        "800 MiB of one device wanted; the largest free share has 500 MiB"
    )
    less = [host("a", device("a1", compute_free=40), device("a2", compute_free=20))]
    assert said(less, demand(compute=60)) == "60 % of one device wanted; the largest free share has 40 %"
    assert said(less, demand(compute=100)) == "a whole device wanted; the one with most free has 40 %"
    apart = [host("a", device("a1", memory_free=300), device("a2", compute_free=20))]
    assert said(apart, demand(compute=60, memory_mib=800)) == (
        "60 % and 800 MiB of one device wanted; those with 60 % free have at most 300 MiB free"
    )


def test_what_its_program_wants_of_the_host():
    small = [host("a", device("a1"), cpu_free=1500)]
    assert said(small, demand(cpu_milli=4000)) == (
        "4 cores of one host wanted; the host with most has 1.5 cores free"
    )
    poor = [host("a", device("a1"), memory_free=100)]
    assert said(poor, demand(host_memory_mib=200)) == (
        "200 MiB of one host's memory wanted; the host with most has 100 MiB free"
    )
    apart = [host("a", device("a1", **FULL)), host("b", device("b1"), cpu_free=0)]
    assert said(apart, demand(cpu_milli=1000)) == (
        "1 core of one host wanted beside its devices; no host has them together"
    )


def test_traits_that_no_device_has_are_named():
    hosts = [host("a", device("a1", traits={"CUSTOM_A"}), device("a2", traits={"CUSTOM_B"}))]
    assert said(hosts, demand(required_traits=("CUSTOM_A", "CUSTOM_C"))).endswith(
        "no device has trait CUSTOM_C"
    )
    assert said(hosts, demand(required_traits=("CUSTOM_A", "CUSTOM_B"))).endswith(
        "no device has all of the traits CUSTOM_A, CUSTOM_B"
    )
    every = ("CUSTOM_A", "CUSTOM_B")
    assert said(hosts, demand(forbidden_traits=every)).endswith(
        "all devices that would do have forbidden traits: CUSTOM_A, CUSTOM_B"
    )


def test_devices_out_of_service_are_counted_and_no_host_is_named():
    hosts = [
        host("secret-a", device("a1", usable=False), device("a2", **FULL)),
        host("secret-b", device("b1"), up=False),
        host("secret-c", device("c1"), closed=SECRET),
    ]
    found = no_room(PoolView(hosts), demand())
    assert found.reason.text == (
        "25 % of one device wanted; the largest free share has 0 % (3 more are out of service)"
    )
    assert "host secret-c takes no new vGPUs: its-disk-is-full" in found.reason.detail
    gone = no_room(PoolView([*hosts[1:], host("secret-a", device("a1", usable=False))]), demand())
    assert gone.reason.text == (
        "none of the 3 devices that it could have is in service: 1 disabled or failed, "
        "1 on hosts that are down, 1 on hosts that take nothing new for now"
    )
    assert not any(word in found.reason.text for word in ("secret", SECRET))


def test_a_pool_that_could_never_hold_it():
    hosts = [host("a", device("a1", **FULL), device("a2"))]
    assert said(hosts, demand(count=3, compute=100)) == (
        "the pool could not hold it even without other claims: "
        "3 devices on one host wanted; the largest host has 2"
    )
    assert said([], demand()) == "the pool has no devices"
    assert said(hosts, demand(host="b")).endswith("none of the devices that it could have is on host b")
    assert said(hosts, demand(devices=("x",))).endswith("by name that the pool does not have")


def test_every_filter_has_its_sentence():
    """A filter without words of its own is told by its name, which projects can't read."""
    names = [value for name, value in vars(filters).items() if name.isupper() and isinstance(value, str)]
    assert filters.COMPUTE in names
    wanted = demand(required_traits=("A",), forbidden_traits=("B",), products=("P",), cpu_milli=1)
    view = PoolView([host("a", device("a1", **FULL), cpu_free=0)])
    for name in names:
        said = shortage.sentence(view, wanted, ((name, 0), ("last", 0)), empty=False)
        assert not said.startswith(f"no device has {name}")


def test_a_layout_does_not_change_what_is_told():
    hosts = [host("a", device("a1"), device("a2", **FULL))]
    wanted = {"count": 2, "compute": 100}
    told = {said(hosts, demand(layout=layout, **wanted)) for layout in Layout}
    assert told == {"2 devices on one host wanted; the largest host has 1 free"}
