"""Placement that fails. The failures are injected (faults.py); Placement behind them is the real one."""

import socket
import threading

import pytest

from gpupool.model import errors
from gpupool.placement.allocations import Allocations
from gpupool.placement.errors import ConcurrentUpdate, NoCapacity
from gpupool.placement.provider_tree import ProviderTree
from tests.functional.placement.conftest import ensure_device
from tests.functional.placement.faults import FaultyPlacement, answering, client_of

CONCURRENT = b'{"errors": [{"status": 409, "code": "placement.concurrent_update", "detail": "moved"}]}'
CAPACITY = b'{"errors": [{"status": 409, "code": "placement.undefined_code", "detail": "full"}]}'


@pytest.fixture
def faulty(tmp_path):
    placement = FaultyPlacement(tmp_path)
    yield placement
    placement.close()


@pytest.fixture
def client(faulty):
    return faulty.client()


@pytest.mark.parametrize("status", ["500 Internal Server Error", "502 Bad Gateway", "503 Nothing"])
def test_a_5xx_is_unavailable_and_says_so(faulty, tree, ensure, allocations, grant, status):
    ensure()
    faulty.fault = answering(status, b"<html>proxy</html>", "text/html")
    for call in (
        ensure,
        tree.devices,
        lambda: allocations.allocate([grant()], "project", "user"),
        lambda: allocations.deallocate(grant().vgpu_id),
        lambda: allocations.get_allocation(grant().vgpu_id),
    ):
        with pytest.raises(errors.Unavailable, match=status.split(maxsplit=1)[0]):
            call()


@pytest.mark.parametrize(
    "fault",
    [
        answering("401 Unauthorized"),
        answering("403 Forbidden"),
        answering("406 Not Acceptable"),
        answering("200 OK", b"<html>a proxy's own page</html>", "text/html"),
        answering("302 Found"),
    ],
)
def test_an_answer_that_is_not_placements_is_unavailable(faulty, client, fault):
    faulty.fault = fault
    with pytest.raises(errors.Unavailable):
        client.traits()


def test_one_failure_is_not_the_end(faulty, allocations, ensure, grant, device):
    ensure()
    held = grant()
    faulty.fault = answering("500 Internal Server Error")
    with pytest.raises(errors.Unavailable):
        allocations.allocate([held], "project", "user")
    faulty.fault = None
    assert allocations.allocations_of(device.id) == {}
    allocations.allocate([held], "project", "user")


def test_a_grant_whose_answer_was_lost_can_be_repeated(faulty, allocations, ensure, grant, device):
    ensure()
    grants = [grant(), grant()]
    faulty.fault, faulty.after = answering("504 Gateway Timeout"), True
    with pytest.raises(errors.Unavailable):
        allocations.allocate(grants, "project", "user")
    faulty.fault = None
    assert len(allocations.allocations_of(device.id)) == 2
    allocations.allocate(grants, "project", "user")
    assert len(allocations.allocations_of(device.id)) == 2


def test_a_release_whose_answer_was_lost_can_be_repeated(faulty, allocations, ensure, grant, device):
    ensure()
    held = grant()
    allocations.allocate([held], "project", "user")
    faulty.fault, faulty.after = answering("500 Internal Server Error"), True
    with pytest.raises(errors.Unavailable):
        allocations.deallocate(held.vgpu_id)
    faulty.fault = None
    allocations.deallocate(held.vgpu_id)
    assert allocations.allocations_of(device.id) == {}


def test_nothing_is_given_back_when_it_is_not_placement_that_answers_404(
    faulty, allocations, ensure, grant, device
):
    """A proxy that has lost Placement, say."""
    ensure()
    held = grant()
    allocations.allocate([held], "project", "user")
    for page in (answering("404 Not Found"), answering("404 Not Found", b"<html>", "text/html")):
        faulty.fault = page
        with pytest.raises(errors.Unavailable, match="answered 404"):
            allocations.deallocate(held.vgpu_id)
        with pytest.raises(errors.Unavailable):
            allocations.allocations_of(device.id)
    faulty.fault = None
    allocations.deallocate(held.vgpu_id)
    allocations.deallocate(held.vgpu_id)
    assert allocations.allocations_of(device.id) == {}


def test_a_capacity_409_is_tried_once(faulty, allocations, ensure, grant):
    ensure()
    faulty.fault = answering("409 Conflict", CAPACITY)
    faulty.requests.clear()
    with pytest.raises(NoCapacity, match="full"):
        allocations.allocate([grant()], "project", "user")
    assert faulty.requests == ["POST /allocations"]


def test_what_was_written_before_placement_failed_counts(
    faulty, allocations, ensure, grant, order, device
):
    """The first half fits, one of the second does not, and then Placement is away."""
    ensure()
    orders = [order(grant(compute=20)) for _ in range(3)] + [order(grant(compute=101))]
    answers = []

    def second_half(environ, start_response):
        answers.append(environ)
        if len(answers) > 2:
            return answering("500 Internal Server Error")(environ, start_response)
        return faulty.real(environ, start_response)

    faulty.fault = second_half
    failed = allocations.allocate_all(orders)
    assert set(failed) == {each.key for each in orders[2:]}
    assert all(isinstance(exc, errors.Unavailable) for exc in failed.values())
    faulty.fault = None
    assert len(allocations.allocations_of(device.id)) == 2


def test_nothing_more_is_asked_of_a_placement_that_is_away(faulty, allocations, grant, order):
    faulty.fault = answering("500 Internal Server Error")
    orders = [order(grant()) for _ in range(8)]
    faulty.requests.clear()
    failed = allocations.allocate_all(orders)
    assert set(failed) == {each.key for each in orders}
    assert faulty.requests == ["POST /allocations"]


def test_a_generation_409_is_tried_again_but_not_for_ever(faulty, allocations, ensure, grant):
    ensure()
    held = grant()

    def conflict(environ, start_response):
        if environ["REQUEST_METHOD"] == "POST":
            return answering("409 Conflict", CONCURRENT)(environ, start_response)
        return faulty.real(environ, start_response)

    faulty.fault = conflict
    faulty.requests.clear()
    with pytest.raises(ConcurrentUpdate, match="moved"):
        allocations.allocate([held], "project", "user")
    assert 2 <= faulty.requests.count("POST /allocations") <= 10


def test_a_generation_409_that_passes_is_not_seen(faulty, allocations, ensure, grant, device):
    ensure()

    def conflict_once(environ, start_response):
        faulty.fault = None
        return answering("409 Conflict", CONCURRENT)(environ, start_response)

    faulty.fault = conflict_once
    held = grant()
    allocations.allocate([held], "project", "user")
    assert list(allocations.allocations_of(device.id)) == [held.vgpu_id]


def test_a_placement_that_hangs_times_out(faulty, grant, caplog):
    go_on = threading.Event()

    def hang(environ, start_response):
        go_on.wait(60)
        return answering("200 OK")(environ, start_response)

    faulty.fault = hang
    try:
        with pytest.raises(errors.Unavailable, match=r"Placement can't be reached$"):
            Allocations(faulty.client(timeout=0.2)).allocate([grant()], "project", "user")
    finally:
        go_on.set()
    assert "timed out" in caplog.text


def test_a_closed_port_is_unavailable_and_only_the_log_says_where(host, pool, device, grant, caplog):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    client = client_of(url, timeout=5)
    with pytest.raises(errors.Unavailable, match=r"Placement can't be reached$"):
        Allocations(client).allocate([grant()], "project", "user")
    assert f"Unable to establish connection to {url}" in caplog.text
    with pytest.raises(errors.Unavailable):
        ensure_device(ProviderTree(client), host, pool, device)


def test_a_connection_that_was_closed_is_tried_once_more():
    """As when the service closes an idle connection just when a request goes out on it."""
    body = b'{"traits": ["CUSTOM"]}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            for reply in (b"", answer):
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        client = client_of(f"http://127.0.0.1:{server.getsockname()[1]}", timeout=30)
        assert client.traits() == {"CUSTOM"}
        thread.join()
