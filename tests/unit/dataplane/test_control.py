"""Control messages: equal in C and Python, read back as written; both refuse anything else."""

import random
import struct
import subprocess
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupool.dataplane import control
from gpupool.dataplane.control import ControlError, Kind, Message, Status

NUMBERS = st.integers(0, 2**32 - 1)
UUIDS = st.uuids().map(str)
FIELDS = (
    *("magic", "version", "kind", "sequence", "status", "session", "claim", "vgpu"),
    *("index", "compute", "memory", "text"),
)
MESSAGES = st.builds(
    Message,
    kind=st.sampled_from(Kind),
    version=st.integers(1, control.VERSION),
    sequence=NUMBERS,
    status=st.sampled_from(Status),
    session_id=UUIDS,
    claim_id=UUIDS,
    vgpu_id=UUIDS,
    index=NUMBERS,
    compute=NUMBERS,
    memory_mib=st.integers(0, 2**40),
    text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60),
)


@pytest.fixture(scope="module")
def probe(compile_probe):
    return compile_probe("control_probe.c")


def test_the_layout_is_that_of_the_c_header(probe):
    printed = subprocess.run([probe], capture_output=True, text=True, check=True).stdout
    seen = {name: int(value) for name, value in (line.split() for line in printed.splitlines())}
    offsets = {}
    for index, field in enumerate(FIELDS):
        values = [type(value)() for value in control.MESSAGE.unpack(bytes(control.MESSAGE.size))]
        values[index] = b"\1" if values[index] == b"" else 1
        offsets[field] = control.MESSAGE.pack(*values).index(1)
    assert seen == {
        "size": control.MESSAGE.size,
        **offsets,
        "MAGIC": control.MAGIC,
        "VERSION": control.VERSION,
        "TEXT": control.TEXT,
        **{one.name: one.value for one in (*Kind, *Status)},
    }


@given(message=MESSAGES)
def test_a_message_comes_back(message):
    assert Message.unpack(message.pack()) == message


def test_a_text_that_is_too_long_is_cut_between_characters():
    assert Message.unpack(Message(kind=Kind.REVOKED, text="€" * 100).pack()).text == "€" * 85


@given(packet=st.binary(max_size=2 * control.MESSAGE.size))
def test_any_other_packet_is_refused_by_name(packet):
    with pytest.raises(ControlError, match="allowed"):
        Message.unpack(packet)


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        (0, 7, "magic 0x7"),
        (1, 0, "control version 0"),
        (1, control.VERSION + 1, f"control version {control.VERSION + 1}"),
        (2, 0, "kind 0"),
        (2, 99, "kind 99"),
        (4, 9, "status 9"),
    ],
)
def test_what_is_wrong_is_named(place, value, named):
    fields = [control.MAGIC, 1, 1, 0, 0, bytes(16), bytes(16), bytes(16), 0, 0, 0, b""]
    fields[place] = value
    with pytest.raises(ControlError, match=named):
        Message.unpack(control.MESSAGE.pack(*fields))


def changed(pick, packet):
    """Return the packet as somebody hostile might send it."""
    kind = pick.randrange(4)
    if kind == 0:
        return packet
    if kind == 1:
        return packet[: pick.randrange(len(packet))]
    if kind == 2:
        return packet + pick.randbytes(pick.randrange(1, 300))
    at = pick.randrange(len(packet) - 8)
    return packet[:at] + pick.choice([bytes(8), b"\xff" * 8, pick.randbytes(8)]) + packet[at + 8 :]


def unpacked(packet):
    try:
        return Message.unpack(packet)
    except ControlError as exc:
        return exc


@pytest.mark.seeds(4)
def test_both_read_the_same_of_any_packet(probe, seed):
    """The C decoder is sanitized; a kind that it does not know is the peer's to refuse."""
    pick = random.Random(seed)
    packets = []
    for number in range(500):
        message = Message(
            kind=pick.choice([*Kind]),
            sequence=number,
            vgpu_id=str(uuid.UUID(bytes=pick.randbytes(16))),
            memory_mib=pick.randrange(1 << 40),
            text="x" * pick.randrange(300),
        )
        packets.append(changed(pick, message.pack()))
    sent = b"".join(struct.pack("<H", len(one)) + one for one in packets)
    done = subprocess.run([probe, "read"], input=sent, capture_output=True, check=True)
    assert not done.stderr
    lines = done.stdout.decode().splitlines()
    assert len(lines) == len(packets)
    for line, packet in zip(lines, packets, strict=True):
        read = unpacked(packet)
        if isinstance(read, ControlError):
            assert line == "-" or str(read).startswith(("kind", "status"))
        else:
            kind, sequence, vgpu_id, memory, _ = line.split()
            assert (int(kind), int(sequence), vgpu_id) == (read.kind, read.sequence, read.vgpu_id)
            assert int(memory) // control.MIB == read.memory_mib
