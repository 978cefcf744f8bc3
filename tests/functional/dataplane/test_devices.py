"""What holds of a worker on any device: the reference device, by CUDA, and one that is the host."""

import struct
import time

import pytest

from gpupool.dataplane.handshake import Error
from testbed.local_agent import Vgpu
from tests.functional.dataplane.raw_client import ARENA_AT, NUMBERS, RawClient

MIB = 1 << 20
# Handles that a client chooses: a generation above an index.
STREAM, EVENT, MODULE, FUNCTION = (1 << 24 | index for index in range(1, 5))
# How a worker ends by itself: because the program hung up, or broke the protocol.
HUNG_UP, BROKEN = 0, 3


@pytest.fixture(params=["reference", "host"])
def device(request):
    return request.param


@pytest.fixture
def native(device, request, native):
    return native if device == "reference" else request.getfixturevalue("host_device")


class Client(RawClient):
    """A program's session, in which it uses one function."""

    def get_function(self, device, kernels, name):
        if device == "reference":
            image = kernels.read_bytes()
            self.memory[ARENA_AT : ARENA_AT + len(image)] = image
            self.tell("image_part", "<QQ", 0, len(image))
            assert self.ask("module_load", struct.pack("<QQII", MODULE, len(image), 0, 0))[0] == 0
        assert self.ask("module_function", struct.pack("<QQ", MODULE, FUNCTION) + name)[0] == 0

    def tell(self, name, form, *values, more=b""):
        self.send(NUMBERS[name], struct.pack(form, *values) + more)

    def allocate(self, size):
        result, answer = self.ask("memory_allocate", struct.pack("<QQ", size, 0))
        assert result == 0
        return struct.unpack("<Q", answer)[0]

    def launch(self, form, *parameters, stream=0):
        packed = struct.pack(form, *parameters)
        shape = (1, 1, 1, 64, 1, 1, 0, 0, len(packed), 0)
        self.tell("launch", "<QQ10I", FUNCTION, stream, *shape, more=packed)

    def read(self, address, size, stream=0):
        result, answer = self.ask("copy_out_small", struct.pack("<QQQ", address, size, stream))
        assert result == 0
        return answer


@pytest.fixture
def open_client(agent, device, kernels):
    def open_client(serving, name):
        client = Client(serving)
        client.get_function(device, kernels, name)
        return client

    return open_client


def test_data_comes_back_as_a_function_made_it(agent, open_client):
    with open_client(agent(Vgpu()), b"add") as client:
        client.tell("stream_create", "<QIi", STREAM, 1, 0)
        numbers = struct.pack("<16i", *range(16))
        address = client.allocate(64)
        client.tell("copy_in_small", "<QQQ", address, 64, STREAM, more=numbers)
        client.launch("<Qii", address, 100, 16, stream=STREAM)
        added = struct.pack("<16i", *range(100, 116))
        assert client.read(address, 64, STREAM) == added
        other = client.allocate(64)
        client.tell("copy_device", "<QQQQ", other, address, 64, STREAM)
        client.tell("memory_set", "<QQQQQII", address, 32, 4, 2, STREAM, 0x0101, 2)
        filled = b"\1" * 8 + added[8:32] + b"\1" * 8 + added[40:]
        assert client.read(address, 64, STREAM) == filled
        assert client.read(other, 64, STREAM) == added
        client.memory[ARENA_AT : ARENA_AT + 64] = numbers
        client.tell("copy_in", "<QQQQ", other, 64, 0, STREAM)
        assert client.ask("staging_wait", struct.pack("<Q", 64))[0] == 0
        assert client.ask("cuStreamSynchronize", struct.pack("<Q", STREAM))[0] == 0
        assert client.read(other, 64) == numbers


def test_foreign_memory_and_handles_are_refused(agent, open_client):
    with open_client(agent(Vgpu()), b"add") as client:
        address = client.allocate(64)
        assert client.ask("copy_out_small", struct.pack("<QQQ", address + 1, 64, 0))[0] == 1
        client.tell("copy_in_small", "<QQQ", address - 4096, 4, 0, more=b"evil")
        assert client.ask("cuCtxSynchronize")[0] == 1
        client.launch("<Qii", address, 1, 1, stream=STREAM)
        assert client.ask("cuCtxSynchronize")[0] == 400
        client.tell("memory_free", "<Q", address)
        client.tell("memory_free", "<Q", address)
        assert client.ask("cuCtxSynchronize")[0] == 1
        assert client.ask("cuCtxSynchronize")[0] == 0


def test_work_gets_its_share_of_time_and_no_more(agent, open_client):
    serving = agent(Vgpu(compute=25))
    with open_client(serving, b"spin") as client:
        begun = time.monotonic()
        for _ in range(10):
            client.launch("<q", 20_000_000)
        assert client.ask("cuCtxSynchronize")[0] == 0
        wall = 1e9 * (time.monotonic() - begun)
        assert client.hang_up() == HUNG_UP
    busy = serving.ledgers[0].usage(0).busy_ns
    # The last two spans may be paid for later, and 10 ms may be made up for.
    assert busy > 195_000_000
    assert 0.25 * wall > 200_000_000 - 2 * 20_000_000 - 10_000_000


def test_the_memory_limit_holds_over_sessions(agent, open_client):
    serving = agent(Vgpu(memory_mib=8))
    with open_client(serving, b"spin") as one, open_client(serving, b"spin") as other:
        free = struct.unpack("<QQ", one.ask("cuMemGetInfo_v2")[1])[0]
        first = one.allocate(free - MIB)
        asked = struct.pack("<QQ", 2 * MIB, 0)
        assert other.ask("memory_allocate", asked)[0] == Error.OUT_OF_MEMORY
        one.tell("memory_free", "<Q", first)
        assert one.ask("cuCtxSynchronize")[0] == 0
        assert other.ask("memory_allocate", asked)[0] == 0


@pytest.mark.parametrize("how", ["hangs up", "breaks the protocol"])
def test_an_end_gives_everything_back_and_charges_what_ran(agent, open_client, how):
    serving = agent(Vgpu(memory_mib=64, host_mib=200))
    with open_client(serving, b"spin") as client:
        client.allocate(MIB)
        client.tell("stream_create", "<QIi", STREAM, 1, 0)
        client.tell("event_create", "<QII", EVENT, 0, 0)
        client.launch("<q", 200_000_000, stream=STREAM)
        # An answer tells that what was sent before has been taken.
        assert client.ask("cuMemGetInfo_v2")[0] == 0
        if how == "breaks the protocol":
            client.send(len(NUMBERS) + 1, b"")
            assert client.worker.wait(20) == BROKEN
        else:
            assert client.hang_up() == HUNG_UP
    used = client.worker.left
    assert (used.memory_mib, used.host_mib) == (0, 0)
    assert used.busy_ns > 195_000_000
