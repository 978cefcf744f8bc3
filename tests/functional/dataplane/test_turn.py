"""Work that waits for its turn is parked: what needs none goes on, and nothing changes its order."""

import struct
import threading

import pytest

from testbed.local_agent import Vgpu
from tests.functional.dataplane.raw_client import NUMBERS, SLOTS, RawClient

NOT_READY = 600
OUT_OF_MEMORY, INVALID_HANDLE = 2, 400
STREAM = (1 << 24) | 1
PARKED = 9
MIB = 1 << 20


@pytest.fixture
def serving(agent):
    return agent(Vgpu(100, 64))


@pytest.fixture
def client(serving):
    with RawClient(serving) as client:
        yield client


def fill(address, value, size=4, stream=0):
    return struct.pack("<QQQQQII", address, size, size, 1, stream, value, 1)


def allocate(client, size=4096):
    result, reply = client.ask("memory_allocate", struct.pack("<QQ", size, 0))
    assert result == 0
    return struct.unpack("<Q", reply)[0]


def answered(client, slot):
    """Return whether a slot was ever answered."""
    return struct.unpack_from("<I", client.memory, 4096 * (1 + slot))[0] != 0


def read(client, address, size=4):
    result, reply = client.ask("copy_out_small", struct.pack("<QQQ", address, size, 0))
    assert result == 0
    return reply


def test_what_needs_no_turn_is_served_while_work_waits(serving, client):
    address = allocate(client)
    serving.ledgers[0].set_frozen(True)
    client.send(NUMBERS["memory_set"], fill(address, 7))
    client.send(NUMBERS["stream_create"], struct.pack("<QIi", STREAM, 0, 0))
    assert client.ask("cuStreamQuery", struct.pack("<Q", 0))[0] == NOT_READY
    result, reply = client.ask("cuMemGetInfo_v2")
    assert (result, struct.unpack("<QQ", reply)) == (0, (64 * MIB - 4096, 64 * MIB))
    other = allocate(client)
    client.send(NUMBERS["memory_set"], fill(other, 8, stream=STREAM))
    assert client.ask("snapshot")[0] == 0
    client.send(NUMBERS["cuStreamSynchronize"], struct.pack("<Q", 0), PARKED)
    assert client.ask("cuStreamQuery", struct.pack("<Q", STREAM))[0] == NOT_READY
    assert not answered(client, PARKED)
    serving.ledgers[0].set_frozen(False)
    assert client.ask("cuCtxSynchronize")[0] == 0
    assert answered(client, PARKED)
    assert (read(client, address), read(client, other)) == (b"\7" * 4, b"\10" * 4)
    assert client.ask("cuStreamQuery", struct.pack("<Q", 0))[0] == 0


def test_memory_is_not_freed_before_the_work_that_uses_it(serving, client):
    """A request after the free waits for it: the memory may be needed."""
    address = allocate(client, 60 * MIB)
    serving.ledgers[0].set_frozen(True)
    client.send(NUMBERS["memory_set"], fill(address, 7))
    client.send(NUMBERS["memory_free"], struct.pack("<Q", address))
    client.send(NUMBERS["memory_allocate"], struct.pack("<QQ", 60 * MIB, 0), PARKED)
    assert client.ask("cuStreamQuery", struct.pack("<Q", 0))[0] == NOT_READY
    assert not answered(client, PARKED)
    serving.ledgers[0].set_frozen(False)
    assert client.ask("cuCtxSynchronize")[0] == 0
    result = struct.unpack_from("<4I", client.memory, 4096 * (1 + PARKED))[2]
    assert result == 0


def test_an_error_of_parked_work_comes_out_where_it_would_have(serving, client):
    serving.ledgers[0].set_frozen(True)
    address = allocate(client)
    client.send(NUMBERS["memory_set"], fill(address, 7))
    client.send(NUMBERS["memory_set"], fill(address, 7, stream=STREAM))
    assert client.ask("cuStreamQuery", struct.pack("<Q", 0))[0] == NOT_READY
    serving.ledgers[0].set_frozen(False)
    assert client.ask("cuCtxSynchronize")[0] == INVALID_HANDLE
    assert client.ask("cuCtxSynchronize")[0] == 0


@pytest.mark.parametrize("count", [100, 6000])
def test_more_than_can_be_parked_waits_in_the_ring(serving, client, count):
    address = allocate(client)
    serving.ledgers[0].set_frozen(True)
    for number in range(count):
        client.send(NUMBERS["memory_set"], fill(address, number % 251))
    serving.ledgers[0].set_frozen(False)
    assert client.ask("cuCtxSynchronize")[0] == 0
    assert read(client, address) == bytes([(count - 1) % 251]) * 4


def test_a_session_ends_though_its_work_waits(serving, client):
    address = allocate(client)
    serving.ledgers[0].set_frozen(True)
    for slot in range(SLOTS - 1):
        client.send(NUMBERS["memory_set"], fill(address, 1))
        client.send(NUMBERS["cuCtxSynchronize"], b"", slot)
    assert client.ask("cuStreamQuery", struct.pack("<Q", 0))[0] == NOT_READY
    assert client.hang_up() == 0
    assert serving.ledgers[0].usage(0).memory_mib == 0


def test_a_vgpu_that_is_taken_away_keeps_no_work_waiting(serving, client):
    address = allocate(client)
    serving.ledgers[0].set_frozen(True)
    client.send(NUMBERS["memory_set"], fill(address, 7))
    assert client.ask("cuStreamQuery", struct.pack("<Q", 0))[0] == NOT_READY
    serving.ledgers[0].set_lost()
    assert client.ask("cuCtxSynchronize")[0] == 0


def test_work_keeps_its_order_while_it_is_frozen_and_thawed(serving, client):
    address, done = allocate(client), threading.Event()

    def toggle():
        frozen = False
        while not done.wait(0.001):
            frozen = not frozen
            serving.ledgers[0].set_frozen(frozen)
        serving.ledgers[0].set_frozen(False)

    thread = threading.Thread(target=toggle)
    thread.start()
    try:
        for number in range(300):
            client.send(NUMBERS["memory_set"], fill(address, number % 251))
            assert read(client, address) == bytes([number % 251]) * 4
    finally:
        done.set()
        thread.join()
