"""CDI specs: what the specification 0.5.0 asks of them, and what must never be in one."""

import json
import os
import re
import stat
from pathlib import Path

import jsonschema
import pytest

from gpupool.agent import cdi
from gpupool.dataplane import paths
from gpupool.model.attachment import cdi_device

ID = "4ee2c1a4-0a2d-4b34-8a52-0f7ed3b1f9d0"
OTHER = "5ff3d2b5-1b3e-4c45-9b63-1a80fe4c20e1"
SOCKET = Path("/run/gpupool/attachments") / ID / "session.sock"
TICKET = Path("/var/lib/gpupool/tickets") / ID
# The parts of the specification's structure that we use, written down from its text.
SCHEMA = {
    "type": "object",
    "required": ["cdiVersion", "kind", "devices"],
    "additionalProperties": False,
    "properties": {
        "cdiVersion": {"enum": ["0.5.0", "0.6.0"]},
        "kind": {"pattern": r"^[A-Za-z][A-Za-z0-9.-]*[A-Za-z0-9]/[A-Za-z][A-Za-z0-9_-]*[A-Za-z0-9]$"},
        "devices": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["name", "containerEdits"],
                "additionalProperties": False,
                "properties": {
                    "name": {"pattern": r"^[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?$"},
                    "containerEdits": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {
                            "env": {"type": "array", "items": {"pattern": "^[A-Z_]+=.+$"}},
                            "mounts": {
                                "type": "array",
                                "items": {
                                    "type": "object",
                                    "required": ["hostPath", "containerPath", "options"],
                                    "additionalProperties": False,
                                    "properties": {
                                        "hostPath": {"pattern": "^/"},
                                        "containerPath": {"pattern": "^/"},
                                        "options": {"type": "array", "items": {"type": "string"}},
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}


@pytest.fixture
def spec():
    return cdi.spec(ID, TICKET, SOCKET)


def test_the_spec_is_valid_and_names_its_device(spec):
    jsonschema.validate(spec, SCHEMA)
    assert cdi_device(ID) == f"{spec['kind']}={spec['devices'][0]['name']}" == f"gpupool.org/vgpu={ID}"


def test_the_runtime_and_the_socket_enter_read_only_and_no_device_node(spec):
    edits = spec["devices"][0]["containerEdits"]
    assert set(edits) == {"mounts"}
    mounts = {mount["containerPath"]: mount for mount in edits["mounts"]}
    libraries = [path for path in mounts if path.endswith("/libcuda.so.1")]
    folders = {str(Path(path).parent) for path in libraries}
    assert folders == {f"/usr/lib/{os.uname().machine}-linux-gnu", "/usr/lib64", "/usr/lib"}
    assert {mounts[path]["hostPath"] for path in libraries} == {str(paths.RUNTIME)}
    assert mounts[f"/run/gpupool/{ID}/socket"]["hostPath"] == str(SOCKET.parent)
    assert mounts[f"/run/gpupool/{ID}/ticket"]["hostPath"] == str(TICKET)
    assert mounts["/usr/bin/gpupool-doctor"]["hostPath"] == str(paths.DOCTOR)
    assert all("ro" in mount["options"] for mount in mounts.values())
    assert not re.search(r"/dev/", json.dumps(spec))


def test_two_attachments_of_one_container_do_not_collide(spec):
    """Engines apply the edits of all its devices; of two mounts or variables of one name one is lost."""
    other = cdi.spec(OTHER, TICKET.with_name(OTHER), SOCKET.parent.with_name(OTHER) / SOCKET.name)
    both = [each["devices"][0]["containerEdits"] for each in (spec, other)]
    assert not any("env" in each for each in both)
    one, two = ({mount["containerPath"]: mount for mount in each["mounts"]} for each in both)
    shared = one.keys() & two.keys()
    assert {path: one[path] for path in shared} == {path: two[path] for path in shared}
    assert len(one.keys() - shared) == len(two.keys() - shared) == 2


def test_a_file_is_written_once_whole_and_for_its_owner_only(tmp_path, spec):
    cdi.write(tmp_path, ID, spec)
    (path,) = tmp_path.iterdir()
    assert path.name == f"gpupool.org-vgpu_{ID}.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == spec
    before = path.stat().st_ino
    cdi.write(tmp_path, ID, spec)
    assert path.stat().st_ino == before


@pytest.mark.parametrize("old", ["", "{", "{}"])
def test_a_file_that_is_other_is_replaced(tmp_path, spec, old):
    cdi.write(tmp_path, ID, spec)
    (path,) = tmp_path.iterdir()
    path.write_text(old)
    cdi.write(tmp_path, ID, spec)
    assert json.loads(path.read_text()) == spec


def test_removing_leaves_nothing_even_twice(tmp_path, spec):
    cdi.write(tmp_path, ID, spec)
    cdi.remove(tmp_path, ID)
    cdi.remove(tmp_path, ID)
    assert not list(tmp_path.iterdir())
