"""Tables and details as people see them, with the longest values that are usual."""

import io
import json
import tomllib
from argparse import Namespace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from cliff.lister import Lister

from gpupool.client import base, plugin

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "api-ref" / "source" / "samples"
WIDTH = 120
UUID = "d710e7ae-1460-5fcd-9951-19037f980cfa"
HOST = "gpu-node-017.rz2.example.org"
KEY = "GPU-5c1f7c2e-8a3b-4d52-9a0f-6f2f4c3d1b7e"
TEXT = "3 devices on one host wanted; the largest host has 2 free; " * 3
# By field; all that is not named here is as in the samples of the API reference.
LONGEST = {
    "busy_ns": 123_456_700_000_000,
    "claims": {
        "": {
            "queued": 1234,
            "allocating": 1,
            "binding": 12,
            "bound": 123,
            "released": 12345,
            "failed": 1,
        }
    },
    "cdi_device": f"gpupool.org/vgpu={UUID}",
    "compute": 100,
    "compute_granted": 100,
    "count": 16,
    "description": "GPUs of the training hall, for those who have signed the agreement",
    "device": f"{HOST}/{KEY}",
    "from_device": f"{HOST}/{KEY}",
    "gain": 100.0,
    "health": {"claims": "device_failed", "devices": "missing"},
    "host": HOST,
    "index": 1023,
    "key": KEY,
    "kind": "container",
    "memory_mib": 81559,
    "memory_mib_granted": 81559,
    "memory_used_mib": 81559,
    "name": {"hosts": HOST, "pools": "training-hall-north", "": "training-resnet-imagenet-v2"},
    "pending_fingerprints": ["SHA256:9zH0pXk0Vb6Yl1E8vZb1cVd8bq2Oq9sSg5y0y9C2m5A"] * 2,
    "pool": "training-hall-north",
    "priority": 100,
    "product": "NVIDIA H100 80GB HBM3",
    "program_pid": 4194304,
    "project_id": "b1a5d0c4f0d94c0db5e7a4bd2fd7a3c6",
    "reason": TEXT,
    "state": {
        "claims": "allocating",
        "attachments": "removing",
        "vgpus": "removing",
        "hosts": "pending",
        "sessions": "ending",
    },
    "state_reason": TEXT,
    "tier": "dedicated",
    "to_device": f"{HOST}/{KEY}",
    "unable_reason": "its agent's memory limit is reached",
    "version": "1.0.1.dev123",
}


def sample(name: str) -> Any:
    return json.loads((SAMPLES / f"{name}.json").read_text())


def longest(item: dict[str, Any], collection: str = "") -> dict[str, Any]:
    """An item with the longest values."""
    found = dict(item)
    for field, value in LONGEST.items():
        if field in item and isinstance(value, dict):
            found[field] = value.get(collection, value.get("", item[field]))
        elif field in item:
            found[field] = value
    return found


class Fake:
    """A client of a service that has one item of everything, and other answers as in the samples."""

    def list(self, collection: str, *_: object) -> list[dict[str, Any]]:
        return [longest(sample(collection)[collection][0], collection)]

    def get(self, collection: str, _: str) -> dict[str, Any]:
        return longest(sample(collection.removesuffix("s")), collection)

    def usage(self, project_id: str | None = None) -> dict[str, Any]:
        found = sample("usage")
        return {kind: [longest(row) for row in found[kind]] for kind in ("pools", "projects")}

    def action(self, *_: object) -> dict[str, Any]:
        return {"moves": [longest(move) for move in sample("pool-defragment")["moves"]]}

    def __getattr__(self, name: str) -> Any:
        return lambda *_: sample(name)


def commands() -> dict[str, type[Any]]:
    """The plug-in's commands by name, as they are declared."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {
        name: EntryPoint(name, value, "").load()
        for name, value in project["entry-points"]["openstack.gpu_pool.v1"].items()
    }


def output(name: str, *arguments: str) -> str:
    """What a command prints."""
    printed = io.StringIO()
    manager = Namespace(session=Namespace(auth=None), **{plugin.API_NAME: Fake()})
    app = Namespace(stdout=printed, client_manager=manager, options=Namespace(debug=False))
    command = commands()[name](app, None)
    parsed = command.get_parser(name).parse_args(list(arguments))
    assert command.run(parsed) == 0
    return printed.getvalue()


LISTS = sorted(name for name, made in commands().items() if issubclass(made, Lister))
SHOWS = ("gpu_claim_show", "gpu_attachment_show", "gpu_device_show", "gpu_host_show", "gpu_vgpu_show")


def needed(name: str) -> list[str]:
    """The arguments without which a list can't be asked for."""
    return ["default"] if name == "gpu_pool_defragment" else []


def fields(printed: str) -> list[str]:
    """The first cells of a table's rows."""
    return [cell for line in printed.splitlines()[3:-1] if (cell := line.split("|")[1].strip())]


@pytest.mark.parametrize("name", LISTS)
def test_every_list_fits(name: str) -> None:
    for more in ([], ["--by", "project"]) if name == "gpu_usage_show" else ([],):
        lines = output(name, *needed(name), *more).splitlines()
        assert len(lines) > 4
        assert max(map(len, lines)) <= WIDTH, "\n".join(lines)


@pytest.mark.parametrize("name", LISTS)
def test_no_list_hides_a_column_from_programs(name: str) -> None:
    """What a table leaves out to fit is there for programs, and for who names it."""
    rows = json.loads(output(name, *needed(name), "-f", "json"))
    command = commands()[name]
    if issubclass(command, base.ListCommand):
        assert list(rows[0]) == [column.title for column in command.columns if column.programs]
        for column in (*command.columns, *command.long_columns):
            assert column.title in output(name, "-c", column.title)


@pytest.mark.parametrize("name", LISTS)
def test_what_an_older_service_does_not_say_is_left_out(name: str, monkeypatch) -> None:
    monkeypatch.setattr(Fake, "list", lambda *_: [{"id": UUID, "name": "mine"}])
    if issubclass(commands()[name], base.ListCommand):
        for more in ([], ["--long"], ["-f", "json"]):
            assert output(name, *more)


def test_a_list_of_programs_has_plain_values() -> None:
    (row,) = json.loads(output("gpu_claim_list", "-f", "json"))
    assert row["State"] == "allocating"
    assert row["Health"] == "device_failed"
    assert "| allocating,   |" in output("gpu_claim_list")
    (device,) = json.loads(output("gpu_device_list", "-f", "json"))
    assert (device["Health"], device["Memory"]) == ("missing", 81559)
    (waiting,) = json.loads(output("gpu_queue_show", "-f", "json"))
    assert waiting["Reason"] == TEXT
    assert waiting["Claim"] == sample("queue")["queue"][0]["claim_id"]


@pytest.mark.parametrize(
    "name", sorted(name for name, made in commands().items() if issubclass(made, base.ShowCommand))
)
def test_every_item_fits(name: str) -> None:
    for more in ([], ["--long"]):
        lines = output(name, UUID, *more).splitlines()
        assert max(map(len, lines)) <= WIDTH, "\n".join(lines)


@pytest.mark.parametrize("name", SHOWS)
def test_people_see_first_what_they_need(name: str) -> None:
    short, long = fields(output(name, UUID)), fields(output(name, UUID, "--long"))
    everything = json.loads(output(name, UUID, "-f", "json"))
    assert set(short) - {"use"} < set(everything)
    assert set(everything) == set(long) - {"use"}
    internal = {"generation", "request_id", "user_id", "pool_id", "updated_at", "applied_generation"}
    assert not internal & set(short)


def test_a_claim_is_shown_with_what_became_of_it_first() -> None:
    rows = fields(output("gpu_claim_show", UUID))
    assert rows[:4] == ["name", "id", "state", "state_reason"]
    assert rows.index("compute") < rows.index("granted_devices") < rows.index("lease_end")
    # What it did not ask for is not told.
    assert "linked" not in rows
    assert "preemptible" in rows


def test_a_ticket_is_shown_only_when_asked() -> None:
    for arguments in ([], ["--long"], ["-f", "json"]):
        assert "the-ticket" not in output("gpu_attachment_show", UUID, *arguments)
    assert "the-ticket" in output("gpu_attachment_show", UUID, "--ticket")
    shown = json.loads(output("gpu_attachment_show", UUID, "--ticket", "-f", "json"))
    assert shown["ticket"] == shown["environment"]["GPUPOOL_TICKET"] == "the-ticket-of-this-attachment"
