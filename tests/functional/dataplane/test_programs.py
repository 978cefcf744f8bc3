"""Unmodified cuda-bindings programs on a share of the reference device."""

import pytest

from testbed.local_agent import Vgpu
from tests.functional.dataplane.conftest import run_program

MIB = 1 << 20
INVALID_HANDLE = "CUDA_ERROR_INVALID_HANDLE"
INVALID_VALUE = "CUDA_ERROR_INVALID_VALUE"


def test_matrix_product_is_that_of_numpy(agent, run):
    assert run(agent(Vgpu(25, 64)), "matrix_product")["error"] < 1e-3


def test_memory_is_the_claims_and_a_refusal_leaves_the_session_usable(agent, run):
    seen = run(agent(Vgpu(100, 64)), "memory")
    assert seen["total"] == 64 * MIB
    assert seen["info"] == [32 * MIB, 64 * MIB]
    assert seen["refused"] == "CUDA_ERROR_OUT_OF_MEMORY"
    assert seen["none_left"] == 0
    assert seen["after"] == 64 * MIB
    assert seen["twice"] == INVALID_VALUE
    assert seen["product"]["error"] < 1e-3


def test_raising_a_limit_is_charged_like_an_allocation(agent, run):
    seen = run(agent(Vgpu(100, 64)), "limits")
    assert seen["taken"] == 8 * MIB
    assert seen["beyond"] == "CUDA_ERROR_OUT_OF_MEMORY"
    assert seen["left"] == 0


def test_the_ledger_is_empty_when_the_program_is_gone(agent, run):
    serving = agent(Vgpu(100, 64))
    run(serving, "until_memory_is_held")
    serving.workers[0].wait(10)
    assert serving.workers[0].returncode == 0
    assert serving.workers[0].left.memory_mib == 0


def test_two_vgpus_in_one_program(agent, run):
    environment = {"REFCUDA_DEVICES": "2"}
    seen = run(agent(Vgpu(50, 64, 0), Vgpu(25, 32, 1), environment=environment), "two_devices")
    assert seen["memory"] == [64 * MIB, 32 * MIB]
    assert seen["first"]
    assert seen["peer_copy"]
    assert seen["peer_access"] == 0
    assert seen["wrong_device"] == "CUDA_ERROR_INVALID_DEVICE"


def test_addresses_of_two_vgpus_never_mean_the_same(same_addresses, agent, run):
    seen = run(agent(Vgpu(50, 64), Vgpu(25, 64)), "addresses_of_two")
    assert seen["ordinals"] == [0, 1] * 4
    assert seen["right"] == [True] * 8
    assert seen["free"] == [64 * MIB] * 2


def test_device_memory_never_lies_where_the_program_has_its_own(same_addresses, agent, run):
    seen = run(agent(), "own_memory_at_the_devices_addresses")
    assert seen == {"apart": True, "kept": True, "log": ""}


def test_threads_of_one_program(agent, run):
    seen = run(agent(Vgpu(100, 64)), "threads")
    assert seen["right"] == seen["all"] == 160
    assert seen["left"] == 0


def test_streams_and_events(agent, run):
    seen = run(agent(), "streams_and_events")
    assert set(seen["busy"]) == {"CUDA_ERROR_NOT_READY"}
    assert seen["waited"]
    # A kernel between them spins for 50 ms, so less would be a wrong clock.
    assert seen["milliseconds"] >= 50
    assert seen["done"] == ["CUDA_SUCCESS", "CUDA_SUCCESS"]
    assert seen["flags"] == 1
    assert seen["ended"] == [INVALID_HANDLE, INVALID_HANDLE]


def test_streams_of_threads_do_not_wait_for_each_other(agent, run):
    seen = run(agent(), "per_thread")
    assert seen["order"] == ["other"]
    assert seen["mine"] == "CUDA_ERROR_NOT_READY"


@pytest.mark.parametrize("ring_mib", [8, 16, 64])
def test_copies_of_every_size_through_small_and_large_rings(agent, run, ring_mib):
    seen = run(agent(ring_mib=ring_mib), "copies")
    seen.pop("log")
    assert [name for name, right in seen.items() if not right] == []
    assert len(seen) == 16


def test_pageable_data_is_captured(agent, run):
    assert run(agent(), "captured")["right"] == [True, True, True]


def test_a_pinned_block_is_not_freed_while_the_device_uses_it(agent, run):
    seen = run(agent(), "pinned_in_use")
    assert seen["free"] != "CUDA_SUCCESS", "the error of an earlier call is told, not swallowed"
    assert seen["stream"] == "CUDA_SUCCESS", "the free waited for the stream"
    assert seen["then"] == "CUDA_SUCCESS"


def test_a_copy_that_waits_holds_up_no_other(agent, run):
    seen = run(agent(ring_mib=8), "copies_beside_a_wait")
    assert seen["waiting"] == ["CUDA_ERROR_NOT_READY"] * 2
    assert seen["right"]
    assert seen["large"]


def test_rectangles_are_checked_whole(agent, run):
    seen = run(agent(), "rectangles")
    assert seen["empty"] == ["CUDA_SUCCESS"] * 2
    assert seen["beyond"] == [INVALID_VALUE] * 3
    assert seen["overflow"] == [INVALID_VALUE] * 3
    assert seen["untouched"]
    assert seen["whole"] == "CUDA_SUCCESS"


def test_memsets_and_rectangles(agent, run):
    seen = run(agent(), "sets")
    assert seen["sets"]
    assert seen["rectangle"]
    assert seen["beyond"] == INVALID_VALUE
    assert seen["unaligned"] == INVALID_VALUE
    assert seen["overflow"] == [INVALID_VALUE] * 3


def test_modules_functions_and_globals(agent, run):
    seen = run(agent(), "functions")
    assert seen["places"] == [[0, 8], [8, 1], [10, 2], [12, 4], [16, 8], [24, 4], [32, 8]]
    assert seen["mixed"] == 654321.0
    assert seen["kernel"] == 654322.0
    assert seen["counter"] == [41, 0, 0, 0]
    assert seen["most_threads"] == 1024
    assert seen["occupancy"] >= 1
    assert seen["potential"] in ([0, True, 100], [0, True, 96])
    assert seen["no_function"] == "CUDA_ERROR_NOT_FOUND"
    assert seen["no_image"] == "CUDA_ERROR_INVALID_IMAGE"
    assert seen["after_unload"] == INVALID_HANDLE
    assert seen["global_after_unload"] == INVALID_VALUE


def test_a_file_that_ends_early_is_no_image(agent, kernels, tmp_path):
    path = str(tmp_path / "image")
    seen = run_program(agent(), kernels, "images", path)
    assert seen["cut"] == ["CUDA_ERROR_INVALID_IMAGE"]
    assert seen["text"] != "CUDA_SUCCESS"
    assert seen["whole"] == "CUDA_SUCCESS"


def test_a_library_belongs_to_no_context(agent, run):
    assert run(agent(), "library")["sums"] == [3 * 64] * 2


def test_launch_attributes_that_hold_handles_are_refused_at_the_launch(agent, run):
    seen = run(agent(), "launch_attributes")
    assert seen["event"] == "CUDA_ERROR_NOT_SUPPORTED"
    assert seen["after"] == "CUDA_SUCCESS"
    assert "launch attribute 7 is not supported" in seen["log"]
    assert "attribute 6" not in seen["log"]


def test_what_a_context_owns_ends_with_it(agent, run):
    seen = run(agent(), "contexts")
    assert seen["own_is_current"]
    assert seen["taken"] == MIB
    assert seen["left"] == 0
    assert seen["primary_is_back"]
    assert seen["dead"] == "CUDA_ERROR_INVALID_CONTEXT"
    assert seen["dead_module"] == INVALID_HANDLE
    assert seen["pointers"] == [True, True]
    assert seen["none_to_pop"] == ["CUDA_SUCCESS", "CUDA_ERROR_INVALID_CONTEXT"]
    assert seen["without"] == "CUDA_ERROR_INVALID_CONTEXT"


def test_more_calls_than_the_ring_holds(agent, run):
    assert run(agent(), "flood")["sum"] == [30_000] * 3


def test_misuse_is_refused_and_the_session_goes_on(agent, run):
    seen = run(agent(), "misuse")
    assert seen["stream"] == INVALID_HANDLE
    assert seen["event as stream"] == INVALID_HANDLE
    for name in ("no block", "no pointer", "too long", "no bytes", "foreign free", "too many threads"):
        assert seen[name] == INVALID_VALUE
    assert seen["too much shared"] == "CUDA_SUCCESS"
    assert seen["deferred"] != "CUDA_SUCCESS"
    assert seen["then"] == "CUDA_SUCCESS"
    assert seen["product"]


def test_unknown_functions_are_refused_with_one_line_each(agent, run):
    seen = run(agent(), "unsupported")
    assert set(seen["bindings"]) == {"CUDA_ERROR_NOT_SUPPORTED"}
    assert seen["dlsym"] == seen["second form"] == 801
    assert seen["no name"] == [0, 1]
    assert seen["log"].count("gpupool: cuGraphCreate is not supported") == 1
    assert seen["log"].count("gpupool: cuGraphAddKernelNode is not supported") == 1
    assert seen["product"]


def test_names_resolve_by_version_and_flags(agent, run):
    seen = run(agent(), "resolution")
    assert seen["wrong"] == []
    assert "VERSION_NOT_SUFFICIENT" in seen["too old"]


def test_a_forked_child_starts_anew_and_the_parent_goes_on(agent, run):
    seen = run(agent(), "fork")
    assert seen["before"] < 1e-3
    assert seen["child"] == {"unfit": "CUDA_ERROR_NOT_INITIALIZED", "error": seen["before"]}
    assert seen["after"] == seen["before"]


def test_the_same_programs_run_on_the_reference_device_itself(agent, run, native):
    """What the tests above rely on is no property of gpupool's own."""
    serving = agent()
    direct = {"LD_LIBRARY_PATH": str(native / "refcuda"), "GPUPOOL_SOCKET": ""}
    assert run(serving, "matrix_product", **direct)["error"] < 1e-3
    assert run(serving, "functions", **direct)["mixed"] == 654321.0
    assert serving.workers == []
