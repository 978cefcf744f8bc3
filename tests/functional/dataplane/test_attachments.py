"""Several attachments in one program, and attachments that are found without variables."""

import pytest

from testbed.local_agent import TICKET, Vgpu

MIB = 1 << 20


@pytest.fixture
def both(agent):
    """Two attachments, of two vGPUs and of one."""
    environment = {"REFCUDA_DEVICES": "2"}
    return (
        agent(Vgpu(50, 64, 0), Vgpu(25, 32, 1), environment=environment),
        agent(Vgpu(25, 16, 1), environment=environment),
    )


def listed(*agents):
    return {
        "GPUPOOL_SOCKET": ":".join(str(one.socket_path) for one in agents),
        "GPUPOOL_TICKET": ":".join(TICKET for _ in agents),
    }


@pytest.fixture
def folder(tmp_path):
    """Return a function that makes what a container has of an attachment."""
    where = tmp_path / "attachments"
    where.mkdir()

    def put(name, serving, ticket=f"{TICKET}\n"):
        (where / name).mkdir()
        (where / name / "socket").symlink_to(serving.socket_path.parent)
        (where / name / "ticket").write_text(ticket)

    put.variables = {"GPUPOOL_SOCKET": "", "GPUPOOL_TICKET": "", "GPUPOOL_ATTACHMENTS": str(where)}
    put.where = where
    return put


def test_a_program_has_the_devices_of_all_its_attachments(both, run):
    one, other = both
    assert run(one, "shown", **listed(one, other))["uuids"] == one.ids + other.ids
    assert run(one, "shown", **listed(other, one))["uuids"] == other.ids + one.ids
    picked = run(one, "shown", **listed(one, other), CUDA_VISIBLE_DEVICES="2,0")
    assert picked["uuids"] == [other.ids[0], one.ids[0]]


def test_devices_of_two_attachments_work_together(both, run):
    one, other = both
    seen = run(one, "two_devices", **listed(other, one))
    assert seen["memory"] == [16 * MIB, 64 * MIB, 32 * MIB]
    assert seen["first"]
    assert seen["peer_copy"]
    assert (one.opened, other.opened) == ([0, 1], [0])


def test_attachments_in_the_folder_need_no_variables(both, run, folder):
    """As after ssh or su in a container; their order is that of their ids, in every process."""
    one, other = both
    folder("bb", one)
    folder("aa", other)
    assert run(one, "shown", **folder.variables)["uuids"] == other.ids + one.ids
    assert run(one, "matrix_product", **folder.variables)["error"] < 1e-3
    # Variables name the attachments that are used, whatever else is there.
    assert run(one, "shown", **{**folder.variables, **listed(one)})["uuids"] == one.ids


def test_what_is_no_attachment_is_left_alone(both, run, folder):
    one, _ = both
    folder("aa", one)
    (folder.where / "attachments").mkdir()
    (folder.where / "file").touch()
    (folder.where / ".hidden").mkdir()
    (folder.where / ".hidden" / "ticket").touch()
    seen = run(one, "shown", **folder.variables)
    assert (seen["uuids"], seen["log"]) == (one.ids, "")


def test_an_attachment_that_is_gone_takes_no_other_along(both, run, folder):
    one, other = both
    folder("aa", one)
    folder("bb", other)
    folder("cc", one, ticket="another")
    one.socket_path.unlink()
    seen = run(one, "shown", **folder.variables)
    assert seen["uuids"] == other.ids
    assert f"{folder.where}/aa/socket/session.sock: No such file" in seen["log"]
    assert "attachments that cannot be used are left out" in seen["log"]
    other.socket_path.unlink()
    assert run(one, "init", **folder.variables)["error"] == "CUDA_ERROR_DEVICE_UNAVAILABLE"


def test_a_vgpu_of_two_attachments_is_one_device(both, run):
    one, other = both
    assert run(one, "shown", **listed(one, other, one))["uuids"] == one.ids + other.ids


def test_lists_that_do_not_fit_are_refused(both, run):
    one, other = both
    variables = {**listed(one, other), "GPUPOOL_TICKET": f"{TICKET}:{TICKET}:{TICKET}"}
    seen = run(one, "init", **variables)
    assert seen["error"] == "CUDA_ERROR_NO_DEVICE"
    assert "GPUPOOL_SOCKET names 2 sockets, GPUPOOL_TICKET has 3 tickets" in seen["log"]


def test_a_socket_of_one_attachment_may_have_a_colon(both, run, tmp_path):
    one, _ = both
    link = tmp_path / "a:b.sock"
    link.symlink_to(one.socket_path)
    assert run(one, "shown", GPUPOOL_SOCKET=str(link))["uuids"] == one.ids


def test_without_any_attachment_both_places_are_named(both, run, folder):
    seen = run(both[0], "init", **folder.variables)
    assert seen["error"] == "CUDA_ERROR_NO_DEVICE"
    assert f"GPUPOOL_SOCKET is not set, and there is none in {folder.where}" in seen["log"]
