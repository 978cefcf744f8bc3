"""A hostile client: the sanitized worker never goes wrong, and its books stay right."""

import contextlib
import random
import struct
import threading

import pytest

from gpupool.dataplane import build
from gpupool.dataplane.api.entry import Class
from gpupool.dataplane.api.types import DeviceAddress, Handle, Stream
from gpupool.dataplane.generator.c_types import struct_fields
from testbed.local_agent import LocalAgent, Vgpu
from tests.functional.dataplane.raw_client import (
    ARENA_AT,
    MESSAGES,
    NO_SLOT,
    NUMBERS,
    RECORDS_AT,
    SLOTS,
    Ended,
    RawClient,
)
from tests.functional.dataplane.records import START, World, layout, make, preparations

RECORDS = 1500
INVALID_IMAGE = 200
# How a worker ends by itself: because the program hung up, or broke the protocol.
ORDERLY = (0, 3)
BY_NAME = {message.name: message for message in MESSAGES.values()}
HANDLES = [0, *((generation << 24) | index for generation in (1, 2) for index in range(1, 8))]
SIZES = [0, 1, 4, 64, 4079, 4080, 4081, 65536, 1 << 20, (1 << 20) + 1, 1 << 40, 2**63, 2**64 - 1]


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sanitized")
    build.build(folder, "address,undefined", [one for one in build.TARGETS if "runtime" not in one])
    return folder


class Fuzzer:
    """Makes records from a seed: mostly plausible, so that they get past the first check."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.addresses = [0, 1, 2**64 - 1, 0x7F0000000000]

    def record(self):
        """Return call number, content and slot."""
        pick = self.random
        number = (
            pick.choice([*MESSAGES, *MESSAGES, 0, len(MESSAGES) + 1, 0xFFFF])
            if pick.random() < 0.01
            else pick.choice([*MESSAGES])
        )
        message = MESSAGES.get(number)
        if message is None:
            return number, pick.randbytes(40), NO_SLOT
        slot = pick.randrange(SLOTS - 1) if message.kind is Class.SYNCHRONOUS else NO_SLOT
        # Most messages have none, and are refused with one.
        payload = self._payload() if pick.random() < 0.5 else b""
        return number, self._request(message) + payload, slot

    def _request(self, message):
        if not message.request:
            return b""
        values = []
        for field in struct_fields(message.request, message.name):
            values += [self._value(field) for _ in range(field.length or 1)]
        return layout(message.request).pack(*values)

    def _value(self, field):
        pick = self.random
        if isinstance(field.type, Handle | Stream):
            return pick.choice(HANDLES)
        if isinstance(field.type, DeviceAddress):
            return (pick.choice(self.addresses) + pick.choice([0, 0, 0, 1, 4096])) % 2**64
        if field.name in {"grid", "block"}:
            return pick.choice([0, 1, 1, 2, 64])
        if field.name in {"attribute_count", "option_count", "element_bytes", "parameter_bytes"}:
            return pick.choice([0, 0, 1, 2, 3, 4, 16, 17, 2**32 - 1])
        if field.c_type == "uint64_t":
            return pick.choice(SIZES)
        return pick.choice([0, 1, 2, 4, 100, 2**31 - 1])

    def _payload(self):
        pick = self.random
        kind = pick.randrange(5)
        if kind == 0:
            return pick.choice([b"nothing", b"count", b"counter", b"no\0such", b"x" * 5000])
        if kind == 1:
            return pick.randbytes(pick.choice([1, 4, 16, 72, 144, 4096, 60_000]))
        return bytes(pick.choice([0, 0, 4, 8, 16, 64, 4080]))


SIZES_OF_GRID = {("launch", at) for at in range(16, 40, 4)}


class SeededFuzzer(Fuzzer):
    """Makes records that a runtime might write (see records.py), and changes some."""

    def __init__(self, seed, image):
        super().__init__(seed)
        self.image = image
        self.world = None

    def enter(self, client):
        """Begin a session: what most messages need is there."""
        self.world = World(self.image, client.staging_bytes, client.heap_at, self.random)
        for name in START:
            self.send(client, BY_NAME[name], changed=False)

    def send_any(self, client):
        """Send a record of some message, and before it what it ends or takes."""
        self.send(client, self.random.choice([*BY_NAME.values()]), changed=True)

    def send(self, client, message, *, changed):
        for name in preparations(message):
            self.send(client, BY_NAME[name], changed=changed and self.random.random() < 0.1)
        made = make(message, self.world)
        if made.staging:
            client.put_arena(*made.staging)
        if message.reply and not changed:
            result, reply = client.ask(message.name, made.content)
            # An error of what was sent before may come out instead.
            if result == 0:
                self.world.learn(message, made.values, reply)
            return
        synchronous = message.kind is Class.SYNCHRONOUS
        slot = self.random.randrange(SLOTS - 1) if synchronous else NO_SLOT
        content = self._changed(message, made) if changed else made.content
        client.send(NUMBERS[message.name], content[: (64 << 10) - 16], slot)

    def _changed(self, message, made):
        pick = self.random
        request = layout(message.request).size
        kind = pick.randrange(5)
        if kind == 0 and request:
            # One word of the request, but not so that a kernel runs for ever.
            at = pick.choice(
                [at for at in range(0, request - 3, 4) if (message.name, at) not in SIZES_OF_GRID]
            )
            word = struct.pack("<I", pick.choice([0, 1, 2**31, 2**32 - 1, pick.getrandbits(32)]))
            return made.content[:at] + word + made.content[at + 4 :]
        if kind == 1:
            return made.content[:request] + self._payload()
        if kind == 2:
            return made.content[: pick.randrange(request, len(made.content) + 1)]
        return made.content


def _open(agent, kernels):
    """Open a session and load a real module as module 1: functions and globals can be found."""
    client = RawClient(agent)
    image = kernels.read_bytes()
    client.memory[ARENA_AT : ARENA_AT + len(image)] = image
    client.send(NUMBERS["image_part"], struct.pack("<QQ", 0, len(image)))
    result, _ = client.ask("module_load", struct.pack("<QQII", (1 << 24) | 1, len(image), 0, 0))
    assert result == 0
    return client


def _allocate(client, fuzzer):
    for size in (1, 4096, 1 << 20):
        result, reply = client.ask("memory_allocate", struct.pack("<QQ", size, 0))
        # An error of what was sent before may come out instead.
        if result == 0:
            fuzzer.addresses.append(struct.unpack("<Q", reply)[0])


@pytest.fixture(params=[100])
def hostile(request, tmp_path, sanitized):
    """Yield an agent whose workers are sanitized; afterwards none must have reported anything."""
    log = tmp_path / "log"
    vgpus = (Vgpu(request.param, 64, host_mib=256, granule=1 << 16),)
    agent = LocalAgent(sanitized, vgpus, ring_mib=8, log=log)
    with agent:
        yield agent
    assert log.read_text() == ""


@pytest.mark.parametrize("hostile", [100, 25], indirect=True)
@pytest.mark.seeds(4)
def test_plausible_records(hostile, kernels, seed):
    fuzzer = Fuzzer(seed)
    client = _open(hostile, kernels)
    for sent in range(RECORDS):
        try:
            if sent % 100 == 0:
                _allocate(client, fuzzer)
            number, content, slot = fuzzer.record()
            client.send(number, content[: (64 << 10) - 16], slot)
            client.look()
        except Ended:
            # It saw that no runtime writes such records.
            assert client.worker.returncode in ORDERLY
            client = _open(hostile, kernels)
    assert client.hang_up() in ORDERLY
    assert client.worker.left.memory_mib == 0


@pytest.mark.parametrize("hostile", [100, 25], indirect=True)
@pytest.mark.seeds(4)
def test_changed_records(hostile, kernels, seed):
    fuzzer = SeededFuzzer(seed, kernels.read_bytes())
    client = RawClient(hostile)
    fuzzer.enter(client)
    for _ in range(RECORDS):
        try:
            fuzzer.send_any(client)
            client.look()
        except Ended:
            assert client.worker.returncode in ORDERLY
            client = RawClient(hostile)
            fuzzer.enter(client)
    with contextlib.suppress(Ended):
        # A worker has two seconds to free all, so what it does for others must be over.
        client.ask("cuCtxSynchronize")
    assert client.hang_up() in ORDERLY
    assert hostile.ledgers[0].usage(0).memory_mib == 0


def _toggle(ledger, seed, done):
    """Freeze and thaw the vGPU all the time."""
    pick = random.Random(seed)
    while not done.wait(pick.choice([0.0002, 0.001, 0.01])):
        ledger.set_frozen(pick.random() < 0.5)
    ledger.set_frozen(False)


@pytest.mark.parametrize("hostile", [100, 25], indirect=True)
@pytest.mark.seeds(2)
def test_records_of_a_vgpu_that_is_frozen_now_and_then(hostile, kernels, seed):
    fuzzer, done = SeededFuzzer(seed, kernels.read_bytes()), threading.Event()
    thread = threading.Thread(target=_toggle, args=(hostile.ledgers[0], seed, done))
    thread.start()
    try:
        client = RawClient(hostile)
        fuzzer.enter(client)
        for _ in range(RECORDS // 3):
            try:
                fuzzer.send_any(client)
                client.look()
            except Ended:
                assert client.worker.returncode in ORDERLY
                client = RawClient(hostile)
                fuzzer.enter(client)
    finally:
        done.set()
        thread.join()
    assert client.hang_up() in ORDERLY
    assert client.worker.left.memory_mib == 0


@pytest.mark.seeds(4)
def test_mutated_records(hostile, seed):
    """Sizes, numbers and content that fit nothing: the session ends, the worker does so in order."""
    fuzzer = Fuzzer(seed)
    for _ in range(12):
        client = RawClient(hostile)
        for _ in range(fuzzer.random.randrange(30)):
            client.send(*fuzzer.record())
        number, content, slot = fuzzer.record()
        size = fuzzer.random.choice([0, 1, 15, 16, 17, 65536, 65537, 1 << 20, 2**32 - 1])
        client.send(fuzzer.random.choice([number, 0, 999]), content, slot, size)
        assert client.hang_up() in ORDERLY


def _scribble(memory, seed, done):
    """Write anywhere into what the worker reads, all the time."""
    pick = random.Random(seed)
    while not done.wait(0.0002):
        at = pick.randrange(len(memory) - 8)
        memory[at : at + 8] = pick.choice([bytes(8), b"\xff" * 8, pick.randbytes(8)])
        at = RECORDS_AT + pick.randrange(1 << 14) * 4
        memory[at : at + 4] = pick.choice([b"\xff" * 4, pick.randbytes(4), b"\x10\0\0\0"])


@pytest.mark.seeds(4)
def test_a_ring_that_changes_while_it_is_read(hostile, seed):
    fuzzer = Fuzzer(seed)
    for turn in range(6):
        client, done = RawClient(hostile), threading.Event()
        thread = threading.Thread(target=_scribble, args=(client.memory, seed * 100 + turn, done))
        thread.start()
        try:
            for _ in range(150):
                number, content, slot = fuzzer.record()
                client.send(number, content[: (64 << 10) - 16], slot)
                client.look()
        except Ended:
            pass
        finally:
            done.set()
            thread.join()
        assert client.hang_up() in ORDERLY


def _with_header(image, place, value):
    """Change one 64-bit field of an ELF file's header."""
    return image[:place] + struct.pack("<Q", value) + image[place + 8 :]


@pytest.mark.parametrize("value", [1 << 20, 2**63, 2**64 - 8])
@pytest.mark.parametrize("place", [32, 40])
def test_an_image_whose_tables_lie_beyond_it(hostile, kernels, place, value):
    image = _with_header(kernels.read_bytes(), place, value)
    with RawClient(hostile) as client:
        client.memory[ARENA_AT : ARENA_AT + len(image)] = image
        client.send(NUMBERS["image_part"], struct.pack("<QQ", 0, len(image)))
        result, _ = client.ask("module_load", struct.pack("<QQII", (1 << 24) | 1, len(image), 0, 0))
        assert result == INVALID_IMAGE
        assert client.hang_up() in ORDERLY
    assert client.worker.left.memory_mib == 0


@pytest.mark.parametrize("head", [1, 63, 65, RECORDS + 1, 2**31, 2**32 - 1])
def test_a_head_that_no_producer_writes(hostile, head):
    with RawClient(hostile) as client:
        struct.pack_into("<I", client.memory, 0, head)
        client.head = 64
        client.put(b"", 0)
        struct.pack_into("<I", client.memory, 0, head)
        assert client.hang_up() in ORDERLY


def test_a_full_queue_of_waits(hostile, kernels):
    """More waits than there are slots: refused, and answered again when there is room."""
    with RawClient(hostile) as client:
        for turn in range(300):
            client.send(NUMBERS["cuCtxSynchronize"], b"", turn % (SLOTS - 1))
        assert client.ask("snapshot")[0] == 0
        result, reply = client.ask("memory_allocate", struct.pack("<QQ", 4096, 0))
        assert (result, len(reply)) == (0, 8)
        assert client.hang_up() in ORDERLY
