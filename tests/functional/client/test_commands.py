"""Every `openstack gpu` command against a real service: good and bad input."""

import importlib.metadata
import time

import pytest

from tests.functional.client.conftest import USES_SERVICE

pytestmark = [pytest.mark.usefixtures("empty"), USES_SERVICE]
NOWHERE = "00000000-0000-4000-8000-000000000000"


def claim(openstack, name: str, *more: str) -> str:
    """Create a claim of 10 % and 100 MiB; return its id."""
    line = f"gpu claim create --name {name} --compute 10 --memory-mib 100"
    return openstack.json(line, *more)["id"]


def test_no_other_plugin_has_these_commands() -> None:
    ours = importlib.metadata.distribution("gpupool").entry_points
    names = {one.name for one in ours if one.group == "openstack.gpu_pool.v1"}
    assert {"gpu_run", "gpu_claim_create", "gpu_pool_list"} <= names
    groups = [
        group for group in importlib.metadata.entry_points().groups if group.startswith("openstack.")
    ]
    others = {
        one.name
        for group in groups
        for one in importlib.metadata.entry_points(group=group)
        if one.dist and one.dist.name != "gpupool"
    }
    assert others, "no other plug-in is installed; this shows nothing"
    assert not {name for name in others if name == "gpu" or name.startswith("gpu_")}


def test_pools(openstack) -> None:
    made = openstack.json("gpu pool create lab --description", "two racks")
    assert (made["name"], made["description"]) == ("lab", "two racks")
    assert openstack.json("gpu pool show lab") == made == openstack.json(f"gpu pool show {made['id']}")
    assert {"default", "lab"} <= {row["Name"] for row in openstack.json("gpu pool list")}
    assert "Created" in openstack.json("gpu pool list --long")[0]
    assert (made["policy"], made["compute_overcommit"], made["moves_per_hour"]) == ("fgd", 100, 0)
    openstack("gpu pool set lab --policy pack --compute-overcommit 150 --moves-per-hour 4")
    assert [
        (row["Name"], row["Compute overcommit"], row["Memory overcommit"], row["Moves per hour"])
        for row in openstack.json("gpu pool list --policy pack --long")
    ] == [("lab", 150, 100, 4)]
    openstack("gpu pool set lab --min-run-time 900")
    assert openstack.json("gpu pool show lab")["min_run_time"] == 900
    openstack("gpu pool set lab --no-min-run-time")
    assert openstack.json("gpu pool show lab")["min_run_time"] is None
    openstack("gpu pool set lab --name lab2 --description", "three racks")
    assert openstack.json("gpu pool show lab2")["description"] == "three racks"
    assert "name" in openstack.refused("gpu pool create lab2")
    assert "nothing to change; give one of --name, --description, --policy" in openstack.refused(
        "gpu pool set lab2"
    )
    assert "memory_overcommit is 99; allowed: 100 to" in openstack.refused(
        "gpu pool create odd --memory-overcommit 99"
    )
    assert "invalid choice: 'worst'" in openstack.refused("gpu pool create odd --policy worst", code=2)
    openstack("gpu pool delete lab2")
    assert "lab2" in openstack.refused("gpu pool show lab2")


def test_delete_goes_on_after_an_error(openstack) -> None:
    for name in ("one", "two"):
        openstack(f"gpu pool create {name}")
    said = openstack.refused("gpu pool delete one none two")
    assert "none: " in said
    assert "1 of 3 pools could not be deleted" in said
    assert {row["Name"] for row in openstack.json("gpu pool list")} == {"default"}


def test_hosts(openstack) -> None:
    hosts = openstack.json("gpu host list")
    assert [(row["Name"], row["State"], row["Pool"]) for row in hosts] == [
        ("sim-a", "up", "default"),
        ("sim-b", "up", "default"),
    ]
    assert all(row["Simulated"] is True for row in hosts)
    assert openstack.json("gpu host list --state down") == []
    shown = openstack.json("gpu host show sim-a")
    assert shown["id"] in {row["ID"] for row in hosts}
    openstack("gpu pool create apart")
    openstack("gpu host set sim-b --pool apart")
    assert [row["Name"] for row in openstack.json("gpu host list --pool apart")] == ["sim-b"]
    both = openstack.json("gpu host list --pool apart --pool default --sort name:desc --long")
    assert [row["Name"] for row in both] == ["sim-b", "sim-a"]
    openstack("gpu host set sim-b --pool default")
    openstack("gpu pool delete apart")
    assert "sim-a" in openstack.refused("gpu host delete sim-a")
    assert "sim-x" in openstack.refused("gpu host show sim-x")
    assert "nopool" in openstack.refused("gpu host set sim-a --pool nopool")
    assert "nothing to change; give one of --pool, --enable, --disable" in openstack.refused(
        "gpu host set sim-a"
    )


def test_a_disabled_host_takes_nothing_new(openstack) -> None:
    kept = claim(openstack, "kept", "--host", "sim-a", "--wait")
    openstack("gpu host set sim-a --disable --reason", "the fan")
    try:
        (row,) = openstack.json("gpu host list --disabled")
        assert (row["Name"], row["Takes no vGPUs because"]) == ("sim-a", "disabled: the fan")
        assert [row["Name"] for row in openstack.json("gpu host list --enabled")] == ["sim-b"]
        shown = openstack.json("gpu host show sim-a")
        assert (shown["state"], shown["enabled"], shown["disabled_reason"]) == ("up", False, "the fan")
        assert openstack.json("gpu claim show", kept)["state"] == "bound"
        waiting = claim(openstack, "waiting", "--host", "sim-a")
        while not (shown := openstack.json("gpu claim show", waiting))["state_detail"]:
            time.sleep(0.1)
        assert shown["state"] == "queued"
        assert "sim-a takes no new vGPUs: disabled by an operator: the fan" in shown["state_detail"]
    finally:
        openstack("gpu host set sim-a --enable")
    assert openstack.json("gpu host list --disabled") == []
    assert "--reason goes with --disable" in openstack.refused("gpu host set sim-a --enable --reason x")
    assert "not allowed with argument" in openstack.refused(
        "gpu host set sim-a --enable --disable", code=2
    )


def test_services(openstack) -> None:
    found = openstack.json("gpu service list")
    assert found == sorted(found, key=lambda row: (row["Binary"], row["Host"]))
    assert {row["Leader"] for row in found if row["Binary"] != "gpupool-conductor"} == {None}
    assert {(row["Binary"], row["State"]) for row in found} == {
        ("gpupool-conductor", "up"),
        ("gpupool-api", "up"),
        ("gpupool-agent", "up"),
    }
    assert {row["Host"] for row in found if row["Binary"] == "gpupool-agent"} == {"sim-a", "sim-b"}
    (conductor,) = openstack.json("gpu service list --binary gpupool-conductor")
    assert conductor["Leader"] is True
    assert conductor["Version"]
    assert conductor["Started"] < conductor["Last seen"]
    assert openstack.json("gpu service list --state down") == []


def test_devices(openstack) -> None:
    devices = openstack.json("gpu device list")
    assert len(devices) == 4
    assert devices == sorted(devices, key=lambda row: (row["Host"], row["Key"]))
    assert {(row["Compute granted"], row["Memory"]) for row in devices} == {(0, 4096)}
    assert len(openstack.json("gpu device list --host sim-a --long")) == 2
    assert {row["In Placement"] for row in devices} == {True}
    assert "its host still reports it" in openstack.refused("gpu device delete sim-a/ref-1")
    shown = openstack.json("gpu device show sim-a/ref-1")
    assert (shown["host"], shown["key"], shown["simulated"]) == ("sim-a", "ref-1", True)
    openstack("gpu device set --disable --reason", "the fan", "sim-a/ref-1")
    assert [row["ID"] for row in openstack.json("gpu device list --disabled")] == [shown["id"]]
    assert openstack.json("gpu device show", shown["id"])["disabled_reason"] == "the fan"
    openstack("gpu device set --enable", shown["id"])
    assert len(openstack.json("gpu device list --enabled")) == 4
    assert "2 devices are named 'ref-0'; give one id of: " in openstack.refused("gpu device show ref-0")
    assert "no device with the id or name 'sim-a/x'" in openstack.refused("gpu device show sim-a/x")
    assert "--reason goes with --disable" in openstack.refused(
        "gpu device set --enable --reason x ref-0"
    )
    assert "one of the arguments --enable --disable" in openstack.refused("gpu device set ref-0", code=2)


def test_people_see_units(openstack) -> None:
    lines = openstack("gpu device list -c Host -c Key -c Enabled -c Memory", "-c", "Compute granted").out
    row = next(line for line in lines.splitlines() if "sim-b" in line and "ref-0" in line)
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "sim-b",
        "ref-0",
        "yes",
        "0 %",
        "4 GiB",
    ]


def test_profiles(openstack) -> None:
    made = openstack.json("gpu profile create small --compute 5 --memory-mib 64 --count 2 --priority 70")
    assert (made["compute"], made["memory_mib"], made["count"]) == (5, 64, 2)
    assert (made["qos"], made["preemptible"], made["time_limit"]) == ("guaranteed", False, None)
    assert openstack.json("gpu profile show small") == made
    assert [row["Name"] for row in openstack.json("gpu profile list")] == ["small"]
    wanted = openstack.json("gpu claim create --profile small --compute 6 --wait")
    assert (wanted["compute"], wanted["memory_mib"], wanted["count"]) == (6, 64, 2)
    assert (wanted["state"], wanted["priority"], wanted["profile_id"]) == ("bound", 70, made["id"])
    openstack("gpu profile set small --name tiny --compute 4 --time-limit 60 --pack")
    changed = openstack.json("gpu profile show tiny")
    assert (changed["id"], changed["compute"], changed["memory_mib"]) == (made["id"], 4, 64)
    assert (changed["time_limit"], changed["layout"]) == (60, "pack")
    assert openstack.json("gpu claim show", wanted["id"])["time_limit"] is None
    openstack("gpu profile set tiny --no-time-limit --no-layout --name small")
    changed = openstack.json("gpu profile show small")
    assert (changed["time_limit"], changed["layout"]) == (None, "any")
    assert "nothing to change" in openstack.refused("gpu profile set small")
    assert "--no-time-limit does not go with a time limit" in openstack.refused(
        "gpu profile set small --time-limit 1 --no-time-limit"
    )
    openstack("gpu profile delete small")
    assert "small" in openstack.refused("gpu profile delete small")
    assert "compute is 101; allowed: 1 to 100 (HTTP 400)" in openstack.refused(
        "gpu profile create large --compute 101 --memory-mib 64"
    )
    assert "required: --memory-mib" in openstack.refused("gpu profile create x --compute 1", code=2)


def test_a_profile_of_wishes_that_a_claim_overrides(openstack) -> None:
    wishes = "--best-effort --preemptible --on-preempt release --time-limit 7200 --cpu 0.5 --same-host"
    wishes += " --on-device-lost requeue"
    sizes = "--compute 5 --memory-mib 64 --host-memory-mib 256 --sessions 9"
    openstack(f"gpu profile create batch {sizes} {wishes}")
    row = openstack.json("gpu profile list --long")[0]
    assert (row["Class"], row["Preemptible"], row["Time limit"]) == ("best_effort", True, 7200)
    people = openstack("gpu profile show batch").out
    for field, value in (("time_limit", "2 h"), ("cpu_milli", "0.5 cores"), ("preemptible", "yes")):
        line = next(line for line in people.splitlines() if f" {field} " in line)
        assert value in line
    made = openstack.json("gpu claim create --profile batch --guaranteed --no-preemptible --spread")
    assert (made["qos"], made["preemptible"], made["layout"]) == ("guaranteed", False, "spread")
    found = (made["on_preempt"], made["time_limit"], made["cpu_milli"], made["host_memory_mib"])
    assert found == ("release", 7200, 500, 256)
    assert (made["sessions"], made["on_device_lost"]) == (9, "requeue")
    assert (made["same_host"], made["same_type"], made["linked"]) == (True, False, False)
    assert openstack.json("gpu claim list --qos best_effort") == []
    assert [row["Class"] for row in openstack.json("gpu claim list --long")] == ["guaranteed"]
    openstack("gpu profile delete batch")


def test_an_elastic_claim(openstack) -> None:
    """A host has two devices: the claim has both, at once or once both are to be had."""
    options = "--compute 100 --memory-mib 64 --host sim-a"
    made = openstack.json(f"gpu claim create --name elastic --count 1-3 {options} --wait")
    while made["count"] < 2:
        made = openstack.json("gpu claim show elastic")
    assert (made["count"], made["min_count"], made["max_count"]) == (2, 1, 3)
    (row,) = [line for line in openstack("gpu claim show elastic").out.splitlines() if " count " in line]
    assert "2 of 1-3" in row
    assert "2 of 1-3" in openstack("gpu claim list").out
    assert len(made["granted_devices"]) == 2
    said = openstack.refused(f"gpu claim create --count 3-1025 {options}")
    assert "max_count is 1025; allowed: 1 to 1024 (HTTP 400)" in said
    openstack("gpu claim delete elastic --wait")


def test_the_queue(openstack) -> None:
    assert openstack.json("gpu queue show") == []
    for number in range(4):
        openstack(f"gpu claim create --name whole-{number} --compute 100 --memory-mib 10 --wait")
    claim(openstack, "later")
    claim(openstack, "sooner", "--priority", "90")
    # A claim is in the queue once it has been looked at.
    assert openstack.refused(
        "gpu claim create --name last --compute 1 --memory-mib 1 --wait --timeout 1"
    )
    rows = openstack.json("gpu queue show --pool default --all-projects")
    assert [(row["Position"], row["Name"], row["Priority"]) for row in rows] == [
        (1, "sooner", 90),
        (2, "later", 50),
        (3, "last", 50),
    ]
    assert all(row["Reason"] for row in rows)
    assert {row["Estimated start"] for row in rows} == {None}
    assert [row["Name"] for row in openstack.json("gpu queue show")] == ["sooner", "later", "last"]
    (first,) = openstack.json("gpu queue show --limit 1")
    rest = openstack.json(f"gpu queue show --limit 5 --marker {first['Claim']}")
    assert [row["Name"] for row in (first, *rest)] == ["sooner", "later", "last"]
    assert len(openstack.json("gpu queue show --project noauth")) == 3
    assert openstack.json("gpu queue show --project other") == []
    assert "there is no such pool" in openstack.refused("gpu queue show --pool nowhere")


def test_defragmenting_a_pool(openstack) -> None:
    openstack("gpu pool create empty")
    assert openstack.json("gpu pool defragment empty --dry-run") == []
    assert openstack.json("gpu pool defragment empty --limit 3") == []
    openstack("gpu pool delete empty")
    assert "defragment.limit is 0; allowed: 1 to" in openstack.refused(
        "gpu pool defragment default --limit 0"
    )
    assert "pool nowhere not found" in openstack.refused("gpu pool defragment nowhere --dry-run")


def test_quotas(openstack) -> None:
    before = {row["Resource"]: row["Used"] for row in openstack.json("gpu quota show")}
    assert before == {"claims": 0, "vgpus": 0, "compute": 0, "memory_mib": 0}
    claim(openstack, "mine", "--count", "2")
    after = openstack.json("gpu quota show")
    assert [(row["Resource"], row["Used"], row["Limit"]) for row in after] == [
        ("claims", 1, -1),
        ("vgpus", 2, -1),
        ("compute", 20, -1),
        ("memory_mib", 200, -1),
    ]
    people = " ".join(openstack("gpu quota show").out.split())
    assert "| compute | 20 % | unlimited |" in people
    assert {row["Used"] for row in openstack.json("gpu quota show --project other")} == {0}
    rows = openstack.json("gpu quota list")
    assert [(row["Project"], row["Resource"], row["Used"], row["Limit"]) for row in rows] == [
        ("noauth", "claims", 1, -1),
        ("noauth", "vgpus", 2, -1),
        ("noauth", "compute", 20, -1),
        ("noauth", "memory_mib", 200, -1),
    ]
    assert max(map(len, openstack("gpu quota list").out.splitlines())) <= 120


def test_limits_of_the_configuration_are_not_set_by_a_command(openstack) -> None:
    said = openstack.refused("gpu quota set --project p1 --compute 800 --claims unlimited")
    assert "which no command sets: its operator writes them for every conductor" in said
    assert "gpupool.conf, under [quota]: projects = p1 claims=-1 compute=800" in said
    assert "nothing to set; give one of --claims, --vgpus, --compute, --memory-mib" in openstack.refused(
        "gpu quota set --project p1"
    )
    assert "--default claims does not go with a limit of it" in openstack.refused(
        "gpu quota set --project p1 --claims 1 --default claims"
    )
    for value in ("-2", "many", "1.5", "2147483648"):
        assert f"{value!r} is no limit; allowed: 0 to 2147483647, unlimited" in openstack.refused(
            f"gpu quota set --project p1 --vgpus={value}", code=2
        )
    assert "required: --project" in openstack.refused("gpu quota set --vgpus 1", code=2)


def test_the_life_of_a_claim(openstack) -> None:
    made = openstack("gpu claim create --name mine --compute 25 --memory-mib 512 --wait -f json")
    assert made.err.splitlines()[-1] == f"claim {made.json['id']} is bound"
    assert (made.json["state"], made.json["compute"], made.json["memory_mib"]) == ("bound", 25, 512)
    ident = made.json["id"]
    assert openstack.json("gpu claim show mine")["id"] == ident
    openstack("gpu claim set mine --name yours --priority 60 --lease-end 2099-01-01T00:00:00+01:00")
    shown = openstack.json("gpu claim show", ident)
    assert (shown["name"], shown["priority"]) == ("yours", 60)
    assert shown["lease_end"].startswith("2098-12-31T23:00:00")
    openstack("gpu claim set yours --no-lease-end")
    assert openstack.json("gpu claim show", ident)["lease_end"] is None
    assert "not allowed with argument" in openstack.refused(
        "gpu claim set yours --no-lease-end --lease-end 2099-01-01", code=2
    )
    vgpu = openstack.json("gpu vgpu list --claim yours --long")
    assert [(row["Claim"], row["State"], row["Compute"], row["Memory"]) for row in vgpu] == [
        (ident, "active", 25, 512)
    ]
    assert openstack.json("gpu vgpu show", vgpu[0]["ID"])["device"] == vgpu[0]["Device"]
    assert openstack.json("gpu claim show", ident)["granted_devices"] == [vgpu[0]["Device"]]
    assert [row["ID"] for row in openstack.json("gpu vgpu list --device", vgpu[0]["Device"])] == [
        vgpu[0]["ID"]
    ]
    usage = openstack.json("gpu usage show")[0]
    assert (usage["Compute granted"], usage["Memory granted"], usage["Memory total"]) == (25, 512, 16384)
    assert openstack.json("gpu usage show --by project")[0]["Compute granted"] == 25
    (project,) = openstack.json("gpu usage show --project noauth")
    assert (project["Project"], project["Compute granted"]) == ("noauth", 25)
    (pool,) = openstack.json("gpu usage show --project other --by pool")
    assert (pool["Compute granted"], pool["Claims"]["bound"]) == (25, 0)
    assert openstack.json("gpu usage show --project other") == []
    openstack("gpu claim delete yours --wait")
    assert openstack.json("gpu claim show", ident)["state"] == "released"
    assert openstack.json("gpu vgpu list") == []
    assert ident not in {row["ID"] for row in openstack.json("gpu claim list")}
    assert ident in {row["ID"] for row in openstack.json("gpu claim list --with-ended")}
    live = claim(openstack, "live", "--wait")
    ended = openstack.json("gpu claim list --ended")
    assert ident in {row["ID"] for row in ended}
    assert {row["State"] for row in ended} <= {"released", "failed", "expired"}
    assert {live, ident} <= {row["ID"] for row in openstack.json("gpu claim list --with-ended")}
    released = openstack.json("gpu claim list --ended --state released")
    assert {row["State"] for row in released} == {"released"}
    assert "--ended goes with a state of: released, failed, expired" in openstack.refused(
        "gpu claim list --ended --state bound"
    )
    assert "not allowed with argument" in openstack.refused(
        "gpu claim list --ended --with-ended", code=2
    )
    assert "released" in openstack.refused("gpu claim delete", ident)


def test_lists_of_claims(openstack) -> None:
    ids = [claim(openstack, name, "--wait") for name in ("a", "b", "c")]
    bound = "gpu claim list --state bound --sort name"
    assert [row["ID"] for row in openstack.json(bound)] == ids
    assert [row["ID"] for row in openstack.json(f"{bound}:desc --limit 2")] == ids[:0:-1]
    assert [row["ID"] for row in openstack.json(f"{bound} --marker", ids[0])] == ids[1:]
    assert [row["ID"] for row in openstack.json("gpu claim list --name b --long")] == [ids[1]]
    assert len(openstack.json("gpu claim list --state bound --all-projects --pool default")) == 3
    assert openstack.json("gpu claim list --project nobody") == []
    assert "--project-domain goes with --project" in openstack.refused(
        "gpu claim list --project-domain default"
    )
    assert "nopool" in openstack.refused("gpu claim list --pool nopool")
    assert "marker" in openstack.refused("gpu claim list --marker", NOWHERE)
    assert "sort" in openstack.refused("gpu claim list --sort colour")
    assert "'up' is no direction" in openstack.refused("gpu claim list --sort name:up", code=2)
    assert "invalid choice: 'lost'" in openstack.refused("gpu claim list --state lost", code=2)


def test_a_name_must_be_unique_to_be_taken(openstack) -> None:
    twins = [claim(openstack, "twin"), claim(openstack, "twin")]
    said = openstack.refused("gpu claim show twin")
    assert "2 claims are named 'twin'; give one id of: " in said
    assert all(ident in said for ident in twins)
    openstack("gpu claim delete --wait", twins[0])
    assert openstack.json("gpu claim show twin")["id"] == twins[1]
    assert "no claim with the id or name 'other'" in openstack.refused("gpu claim show other")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("--compute 0 --memory-mib 1", "compute is 0; allowed: 1 to 100"),
        ("--compute 101 --memory-mib 1", "compute is 101; allowed: 1 to 100"),
        ("--compute 1 --memory-mib 0", "memory_mib is 0; allowed: 1 to"),
        ("--compute 1 --memory-mib -5", "memory_mib is -5; allowed: 1 to"),
        ("--compute 1 --memory-mib 4097", "4096"),
        ("--compute 1", "memory"),
        ("--compute 1 --memory-mib 1 --count 0", "count is 0; allowed: 1 to 1024"),
        ("--compute 1 --memory-mib 1 --priority 101", "priority is 101; allowed: 0 to 100"),
        ("--compute 1 --memory-mib 1 --required-trait CUSTOM_NO_SUCH", "CUSTOM_NO_SUCH"),
        (
            "--compute 1 --memory-mib 1 --required-trait lower",
            "required_traits[0] is 'lower'; allowed: a trait",
        ),
        ("--compute 1 --memory-mib 1 --tier dedicated", "dedicated"),
        ("--compute 1 --memory-mib 1 --pool nopool", "nopool"),
        ("--compute 1 --memory-mib 1 --tier local --host nohost", "nohost"),
        ("--profile none", "none"),
        (f"--compute 1 --memory-mib 1 --tier dedicated --device {NOWHERE}", NOWHERE),
        (
            "--compute 1 --memory-mib 1 --tier dedicated --device sim-a/x",
            "no device with the id or name",
        ),
        ("--compute 1 --memory-mib 1 --lease-end 2001-01-01T00:00:00", "2001"),
        ("--compute 1 --memory-mib 1 --timeout 3", "--timeout goes with --wait"),
        ("--compute 1 --memory-mib 1 --time-limit 0", "time_limit is 0; allowed: 1 to"),
        ("--compute 1 --memory-mib 1 --host-memory-mib -1", "host_memory_mib is -1; allowed: 0 to"),
    ],
)
def test_a_claim_that_cannot_be(openstack, arguments: str, why: str) -> None:
    before = len(openstack.json("gpu claim list"))
    assert why in openstack.refused(f"gpu claim create {arguments}")
    assert len(openstack.json("gpu claim list")) == before


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("--compute much --memory-mib 1", "argument --compute: invalid int value: 'much'"),
        ("--compute 1 --memory-mib 1 --cpu half", "argument --cpu: 'half' is no number of cores"),
        ("--compute 1 --memory-mib 1 --pack --spread", "argument --spread: not allowed with"),
        ("--compute 1 --memory-mib 1 --on-preempt cry", "argument --on-preempt: invalid choice: 'cry'"),
        ("--compute 1 --memory-mib 1 --tier best", "argument --tier: invalid choice: 'best'"),
        ("--compute 1 --memory-mib 1 --lease-end soon", "argument --lease-end: 'soon' is no time"),
        ("--compute 1 --memory-mib 1 --wait --timeout 0", "'0' is not a number of seconds above 0"),
    ],
)
def test_a_command_line_that_cannot_be(openstack, arguments: str, why: str) -> None:
    assert why in openstack.refused(f"gpu claim create {arguments}", code=2)


def test_waiting_for_room_ends_with_the_time(openstack) -> None:
    device = openstack.json("gpu device list --host sim-a")[0]["ID"]
    whole = (
        "--tier",
        "dedicated",
        "--device",
        device,
        "--compute",
        "100",
        "--memory-mib",
        "10",
        "--wait",
    )
    first = openstack.json("gpu claim create", *whole)
    said = openstack.refused("gpu claim create --name second", *whole, "--timeout", "0.5")
    assert "is queued" in said
    assert "not bound after 0.5 s; it stays as it is" in said
    openstack("gpu claim delete", first["id"])
    waiting = openstack.json("gpu claim show second")
    assert waiting["state"] in ("queued", "allocating", "binding", "bound")


def test_a_disabled_device_takes_no_claim(openstack) -> None:
    openstack("gpu device set --disable sim-b/ref-0")
    try:
        place = ("--tier", "dedicated", "--device", "sim-b/ref-0", "--wait", "--timeout", "0.5")
        assert "is queued" in openstack.refused("gpu claim create --compute 1 --memory-mib 1", *place)
    finally:
        openstack("gpu device set --enable sim-b/ref-0")


def test_attachments(openstack) -> None:
    ident = claim(openstack, "mine", "--wait")
    made = openstack.json("gpu attachment create --claim mine --kind container --wait")
    assert (made["state"], made["claim_id"]) == ("ready", ident)
    assert made["cdi_device"] == f"gpupool.org/vgpu={made['id']}"
    other = openstack.json("gpu attachment create --claim mine --kind process --wait")
    assert set(other["environment"]) == {"GPUPOOL_SOCKET", "LD_LIBRARY_PATH"}
    assert "ticket" not in other
    asked = openstack.json("gpu attachment show --ticket", other["id"])
    assert asked["environment"] == {**other["environment"], "GPUPOOL_TICKET": asked["ticket"]}
    rows = openstack.json("gpu attachment list --claim mine --state ready --long")
    assert {row["ID"] for row in rows} == {made["id"], other["id"]}
    assert [row["ID"] for row in openstack.json("gpu attachment list --kind process")] == [other["id"]]
    assert openstack.json("gpu attachment show", made["id"])["cdi_device"] == made["cdi_device"]
    assert openstack.json("gpu session list --attachment", made["id"], "--all-projects") == []
    assert openstack.json("gpu session list --claim mine") == []
    assert "no claim with the id or name 'other'" in openstack.refused("gpu session list --claim other")
    openstack("gpu attachment delete", made["id"], other["id"])
    assert f"{NOWHERE}: attachment {NOWHERE} not found" in openstack.refused(
        "gpu attachment delete", NOWHERE
    )
    assert "nohost" in openstack.refused("gpu attachment create --claim mine --host nohost")
    assert "the following arguments are required: --claim" in openstack.refused(
        "gpu attachment create", code=2
    )


def test_a_claim_that_is_not_bound_is_not_attached(openstack) -> None:
    ident = claim(openstack, "mine", "--wait")
    openstack("gpu claim delete mine --wait")
    assert "released" in openstack.refused("gpu attachment create --claim", ident)


def test_a_foreign_claim_is_not_there(openstack, service) -> None:
    ident = claim(openstack, "mine", "--wait")
    stranger = service.client(X_Project_Id="p2", X_User_Id="u2", X_Roles="member,reader")
    assert list(stranger.list("claims", {"name": "mine"})) == []
    for work in (
        lambda: stranger.get("claims", ident),
        lambda: stranger.delete("claims", ident),
        lambda: stranger.create("attachments", {"claim_id": ident, "kind": "process"}),
    ):
        with pytest.raises(Exception, match=f"claim {ident} not found") as caught:
            work()
        assert caught.value.status == 404
    assert openstack.json("gpu claim show", ident)["state"] == "bound"
