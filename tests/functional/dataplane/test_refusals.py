"""A program that may not have a device, or no longer."""

import signal
import socket
import threading


def test_outside_a_session_there_is_no_device_and_a_line_says_why(agent, run, monkeypatch):
    serving = agent()
    environment = serving.program_environment()
    del environment["GPUPOOL_SOCKET"]
    monkeypatch.setattr(serving, "program_environment", lambda: environment)
    seen = run(serving, "init")
    assert seen["error"] == "CUDA_ERROR_NO_DEVICE"
    assert seen["next"] == "CUDA_ERROR_NOT_INITIALIZED"
    assert "GPUPOOL_SOCKET is not set" in seen["log"]


def test_a_claim_without_devices_has_none_however_often_one_asks(agent, run):
    seen = run(agent(vgpus=()), "init")
    assert seen["error"] == seen["again"] == "CUDA_ERROR_NO_DEVICE"


def test_a_wrong_ticket_is_refused_with_the_agents_words(agent, run):
    seen = run(agent(), "init", GPUPOOL_TICKET="another")
    assert seen["error"] == "CUDA_ERROR_NO_DEVICE"
    assert "gpupool: the agent refused: the ticket is not this attachment's" in seen["log"]


def test_a_released_claim_has_no_socket(agent, run):
    serving = agent()
    serving.socket_path.unlink()
    seen = run(serving, "init")
    assert seen["error"] == "CUDA_ERROR_DEVICE_UNAVAILABLE"
    assert "No such file" in seen["log"]


def test_a_long_path_to_no_socket_is_named(agent, run, tmp_path):
    path = str(tmp_path / ("x" * 120) / "session.sock")
    seen = run(agent(), "init", GPUPOOL_SOCKET=path)
    assert f"{path}: No such file" in seen["log"]


def test_a_long_socket_path(agent, run, tmp_path):
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    serving = agent()
    link = folder / "session.sock"
    link.symlink_to(serving.socket_path)
    assert run(serving, "matrix_product", GPUPOOL_SOCKET=str(link))["error"] < 1e-3


def test_an_agent_that_speaks_another_version(agent, run, tmp_path):
    path = tmp_path / "other.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()
        serving = agent()

        def answer():
            for _ in range(2):
                connection, _ = listener.accept()
                connection.recv(1000)
                connection.send(b"some other protocol")
                connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        seen = run(serving, "init", GPUPOOL_SOCKET=str(path))
        thread.join()
    assert seen["error"] == "CUDA_ERROR_DEVICE_UNAVAILABLE"
    assert "another protocol version" in seen["log"]


def test_a_library_that_is_not_there_is_named(agent, run, tmp_path):
    serving = agent(library=tmp_path / "no-libcuda.so.1")
    seen = run(serving, "first_use")
    assert seen["error"] != "CUDA_SUCCESS"
    assert "no-libcuda.so.1" in seen["log"]
    assert serving.workers[0].wait(10) == 1
    assert serving.workers[0].returncode != -signal.SIGSEGV
