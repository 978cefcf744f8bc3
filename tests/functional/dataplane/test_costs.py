"""What a session makes the host hold is charged to its vGPU, and given back; see worker/cost.h."""

import os
import random
import socket
import struct

import pytest

from gpupool.dataplane import handshake
from testbed.local_agent import TICKET, Vgpu
from tests.functional.dataplane.raw_client import ARENA_AT, NUMBERS, RawClient

OUT_OF_MEMORY = 2
MIB = 1 << 20
RING_MIB = 32
# What opening is charged: the ring, and COST_SESSION.
OPEN_MIB = RING_MIB + 4
STREAMS_MAX = 1024


# Of what CUDA alone has.
ON_CUDA = pytest.mark.parametrize("native", ["reference"], indirect=True)


@pytest.fixture(params=["reference", "host"])
def native(request, native):
    """Return a build whose worker serves the reference device, or one with another backend."""
    return native if request.param == "reference" else request.getfixturevalue("host_device")


class Session:
    """A client that counts what it has made, and what its vGPU is charged."""

    def __init__(self, agent, host_mib, memory_mib=512):
        self.agent = agent(Vgpu(100, memory_mib, host_mib=host_mib), ring_mib=RING_MIB)
        self.client = RawClient(self.agent)
        self.charged_at_first = self.charged()

    def charged(self):
        """Return the MiB of the host's memory that the ledger says, after all that was sent is done."""
        return self.agent.ledgers[0].usage(0).host_mib

    def sync(self):
        return self.client.ask("cuCtxSynchronize")[0]

    def send(self, name, content):
        self.client.send(NUMBERS[name], content)

    def send_image(self, image, times=1):
        self.client.memory[ARENA_AT : ARENA_AT + len(image)] = image
        for _ in range(times):
            self.send("image_part", struct.pack("<QQ", 0, len(image)))

    def load(self, number, size):
        request = struct.pack("<QQII", 1 << 24 | number, size, 0, 0)
        return self.client.ask("module_load", request)[0]

    def works(self):
        """Tell whether the session serves on; the first answer may be an earlier call's error."""
        self.sync()
        return self.sync() == 0


@pytest.fixture
def session(agent):
    made = []

    def make(host_mib=64, **more):
        made.append(Session(agent, host_mib, **more))
        return made[-1]

    yield make
    for one in made:
        one.client.hang_up()


def test_opening_is_charged(session):
    assert session().charged_at_first == OPEN_MIB


@ON_CUDA
def test_parts_of_an_image_are_charged_and_given_back(session):
    one = session()
    one.send_image(bytes(MIB), 20)
    assert one.sync() == 0
    assert one.charged() == OPEN_MIB + 21  # and a byte
    assert one.load(1, 1) != 0
    assert one.charged() == OPEN_MIB
    one.send_image(bytes(MIB), 500)
    assert one.sync() == OUT_OF_MEMORY
    assert one.charged() <= 64
    assert one.load(1, 500 * MIB) != 0
    assert one.works()
    assert one.charged() == OPEN_MIB


@ON_CUDA
def test_a_module_keeps_what_its_image_takes(session, kernels):
    one = session()
    image = kernels.read_bytes()
    for number in range(1, 4):
        one.send_image(image)
        assert one.load(number, len(image)) == 0
    each = len(image) + (64 << 10)
    assert one.charged() == OPEN_MIB - (-3 * each // MIB)
    for number in range(1, 4):
        one.send("module_unload", struct.pack("<Q", 1 << 24 | number))
    assert one.works()
    assert one.charged() == OPEN_MIB


@ON_CUDA
def test_functions_are_charged_until_their_module_goes(session, kernels):
    one = session()
    image = kernels.read_bytes()
    one.send_image(image)
    assert one.load(1, len(image)) == 0
    name = b"nothing"
    made = 0
    while (
        result := one.client.ask(
            "module_function", struct.pack("<QQ", 1 << 24 | 1, 1 << 24 | made + 2) + name
        )[0]
    ) == 0:
        made += 1
    assert result == OUT_OF_MEMORY
    assert 1000 < made * (8 << 10) // 1024 < (64 - OPEN_MIB) << 10
    one.send("module_unload", struct.pack("<Q", 1 << 24 | 1))
    assert one.works()
    assert one.charged() == OPEN_MIB


@pytest.mark.parametrize(
    ("kind", "content", "each", "most"),
    [
        ("stream", lambda handle: struct.pack("<QIi", handle, 1, 0), 128 << 10, STREAMS_MAX),
        ("event", lambda handle: struct.pack("<QII", handle, 0, 0), 1 << 10, 1 << 16),
    ],
)
def test_streams_and_events_are_charged(session, kind, content, each, most):
    one = session(host_mib=OPEN_MIB + 4)
    for number in range(1, (4 << 20) // each + 1):
        one.send(f"{kind}_create", content(1 << 24 | number))
    assert one.sync() == 0
    assert one.charged() == OPEN_MIB + 4
    one.send(f"{kind}_create", content(1 << 24 | 60000))
    assert one.sync() == OUT_OF_MEMORY
    for number in range(1, (4 << 20) // each + 1):
        one.send(f"{kind}_destroy", struct.pack("<Q", 1 << 24 | number))
    assert one.sync() == 0
    assert one.charged() == OPEN_MIB
    one.send(f"{kind}_create", content(2 << 24 | 1))
    assert one.sync() == 0


def test_a_session_has_so_many_streams_and_no_more(session):
    one = session(host_mib=1024)
    for number in range(1, STREAMS_MAX + 1):
        one.send("stream_create", struct.pack("<QIi", 1 << 24 | number, 1, 0))
    assert one.sync() == 0
    one.send("stream_create", struct.pack("<QIi", 1 << 24 | 5000, 1, 0))
    assert one.sync() == OUT_OF_MEMORY
    one.send("stream_destroy", struct.pack("<Q", 1 << 24 | 1))
    one.send("stream_create", struct.pack("<QIi", 2 << 24 | 1, 1, 0))
    assert one.sync() == 0


def test_allocations_are_charged_for_their_entries(session):
    one = session(host_mib=OPEN_MIB + 1)
    addresses = []
    while True:
        result, answer = one.client.ask("memory_allocate", struct.pack("<QQ", 1, 0))
        if result:
            break
        addresses.append(struct.unpack("<Q", answer)[0])
    assert (result, len(addresses)) == (OUT_OF_MEMORY, MIB // 512)
    for address in addresses:
        one.send("memory_free", struct.pack("<Q", address))
    assert one.sync() == 0
    assert one.charged() == OPEN_MIB
    assert one.agent.ledgers[0].usage(0).memory_mib == 0


def test_a_session_that_does_not_fit_is_told_so(agent):
    serving = agent(Vgpu(100, 512, host_mib=OPEN_MIB - 1), ring_mib=RING_MIB)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(str(serving.socket_path))
        connection.send(handshake.Hello(handshake.Kind.OPEN, 0, 1, TICKET).pack())
        packet, (ring,), _, _ = socket.recv_fds(connection, 1 << 16, 1)
        os.close(ring)
        assert handshake.Welcome.unpack(packet).error == 0
        ready = handshake.READY.unpack(connection.recv(1000))
    said = "host memory: the vGPU's sessions hold all that they may; 36 MiB more are needed"
    assert (ready[2], ready[4].rstrip(b"\0").decode()) == (OUT_OF_MEMORY, said)


GRANULE = 2 * MIB


@pytest.mark.parametrize("granule", [512, GRANULE])
def test_memory_is_charged_by_what_the_device_gives_for_it(agent, granule):
    """Allocations of any sizes, in any order: the charge is the granules that hold one."""
    serving = agent(Vgpu(100, 256, granule=granule), ring_mib=RING_MIB)
    pick = random.Random(granule)
    with RawClient(serving) as client:
        live = {}
        for _ in range(300):
            if live and pick.random() < 0.45:
                address = pick.choice(list(live))
                client.send(NUMBERS["memory_free"], struct.pack("<Q", address))
                del live[address]
            else:
                size = pick.choice(
                    [1, 511, 4096, 70000, MIB, GRANULE - 1, GRANULE, GRANULE + 1, 5 * MIB]
                )
                result, answer = client.ask("memory_allocate", struct.pack("<QQ", size, 0))
                if result == 0:
                    live[struct.unpack("<Q", answer)[0]] = size
            assert client.ask("cuCtxSynchronize")[0] == 0
            assert used(client, 256) == charge(live, granule) <= 256 * MIB
        for address in live:
            client.send(NUMBERS["memory_free"], struct.pack("<Q", address))
        assert client.ask("cuCtxSynchronize")[0] == 0
        assert used(client, 256) == 0


def charge(live, granule):
    """Return the bytes of all granules that an allocation lies in."""
    held = set()
    for address, size in live.items():
        held |= set(range(address // granule, (address + size - 1) // granule + 1))
    return len(held) * granule


def used(client, memory_mib):
    free, total = struct.unpack("<QQ", client.ask("cuMemGetInfo_v2")[1])
    assert total == memory_mib * MIB
    return total - free


def test_a_full_vgpu_still_fills_the_granules_it_has(agent):
    serving = agent(Vgpu(100, 2, granule=GRANULE), ring_mib=RING_MIB)
    with RawClient(serving) as client:
        results = [client.ask("memory_allocate", struct.pack("<QQ", MIB, 0))[0] for _ in range(8)]
        assert results[0] == 0
        assert results[-1] == OUT_OF_MEMORY
        assert used(client, 2) == GRANULE
        assert client.ask("memory_allocate", struct.pack("<QQ", 3 * MIB, 0))[0] == OUT_OF_MEMORY
        assert used(client, 2) == GRANULE
