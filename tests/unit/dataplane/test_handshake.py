"""The handshake packets: equal in C and Python, and read back as they were written."""

import fcntl
import os
import socket
import struct
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupool.dataplane import handshake
from gpupool.dataplane.handshake import Hello, Kind, VgpuShare, Welcome

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
NUMBERS = st.integers(0, 2**32 - 1)


def test_the_layouts_are_those_of_the_c_header(compile_probe):
    printed = subprocess.run(
        [compile_probe("handshake_probe.c")], capture_output=True, text=True, check=True
    )
    seen = {name: int(value) for name, value in (line.split() for line in printed.stdout.splitlines())}
    assert seen == {
        "magic": handshake.MAGIC,
        "version": handshake.VERSION,
        "text": handshake.TEXT,
        "devices": handshake.MAX_DEVICES,
        "list": Kind.LIST,
        "open": Kind.OPEN,
        "vgpus": Kind.VGPUS,
        **{f"result.{error.name}": error for error in handshake.Error},
        **_offsets("hello", handshake.HELLO, "magic version kind ordinal pid control ticket"),
        **_offsets("welcome", handshake.WELCOME, "magic version error device_count ring_bytes message"),
        **_offsets("welcome_device", handshake.WELCOME_DEVICE, "compute - memory"),
        **_offsets("welcome_vgpu", handshake.WELCOME_VGPU, "uuid memory compute ordinal"),
        **_offsets("ready", handshake.READY, "magic version error - message"),
    }


def _offsets(name, layout, fields):
    """Find each field's offset by packing a mark into it alone."""
    found = {name: layout.size}
    names = fields.split()
    for index, field in enumerate(names):
        values = [type(value)() for value in layout.unpack(bytes(layout.size))]
        values[index] = b"\1" if values[index] == b"" else 1
        if field != "-":
            found[f"{name}.{field}"] = layout.pack(*values).index(1)
    return found


@given(kind=st.sampled_from(Kind), ordinal=NUMBERS, pid=NUMBERS, ticket=TEXTS, control=NUMBERS)
def test_a_hello_comes_back(kind, ordinal, pid, ticket, control):
    hello = Hello(kind, ordinal, pid, ticket, control)
    assert Hello.unpack(hello.pack()) == hello


@given(
    shares=st.lists(st.builds(VgpuShare, st.integers(1, 100), st.integers(1, 1 << 30)), max_size=20),
    ring_bytes=st.integers(0, 2**63),
    error=NUMBERS,
    message=TEXTS,
)
def test_a_welcome_comes_back(shares, ring_bytes, error, message):
    welcome = Welcome(tuple(shares), ring_bytes, error, message)
    assert Welcome.unpack(welcome.pack()) == welcome


@given(
    shares=st.lists(
        st.builds(VgpuShare, st.integers(1, 100), st.integers(1, 1 << 30), st.uuids().map(str), NUMBERS),
        max_size=20,
    )
)
def test_an_answer_with_identities_comes_back(shares):
    welcome = Welcome(tuple(shares), kind=Kind.VGPUS)
    assert Welcome.unpack(welcome.pack(), Kind.VGPUS) == welcome


@given(packet=st.binary(max_size=600))
def test_any_other_packet_is_refused_by_name(packet):
    for read in (Hello.unpack, Welcome.unpack):
        with pytest.raises(handshake.HandshakeError, match="allowed"):
            read(packet)


@pytest.mark.parametrize(
    ("change", "named"),
    [({0: 7}, "magic"), ({1: 9}, "handshake version 9"), ({2: 4}, "hello kind 4")],
)
def test_a_wrong_hello_is_named(change, named):
    fields = [handshake.MAGIC, handshake.VERSION, 1, 0, 1, 0, b""]
    for index, value in change.items():
        fields[index] = value
    with pytest.raises(handshake.HandshakeError, match=named):
        Hello.unpack(handshake.HELLO.pack(*fields))


def test_what_does_not_fit_is_refused():
    with pytest.raises(handshake.HandshakeError, match="256 bytes"):
        Hello(Kind.LIST, 0, 1, "x" * 256).pack()
    with pytest.raises(handshake.HandshakeError, match="1025 vGPUs"):
        Welcome((VgpuShare(1, 1),) * 1025).pack()
    assert Welcome.unpack(Welcome(error=46, message="m" * 999).pack()).message == "m" * 255


def test_a_welcome_brings_a_ring_that_nobody_can_resize():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ring = handshake.make_ring(8)
    handshake.send_welcome(ours, [VgpuShare(25, 512)], ring)
    packet, (passed,), _, _ = socket.recv_fds(theirs, 4096, 4)
    assert Welcome.unpack(packet) == Welcome((VgpuShare(25, 512),), 8 << 20)
    assert os.fstat(passed).st_ino == os.fstat(ring).st_ino
    for size in (4096, 16 << 20):
        with pytest.raises(PermissionError):
            os.ftruncate(passed, size)
    assert fcntl.fcntl(passed, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SEAL
    os.close(passed)
    os.close(ring)
    ours.close()
    theirs.close()


def test_a_refusal_says_why():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    handshake.send_refusal(ours, handshake.Error.DEVICE_UNAVAILABLE, "the claim was released")
    assert Welcome.unpack(theirs.recv(4096)) == Welcome(error=46, message="the claim was released")
    theirs.send(struct.pack("<I", 1))
    with pytest.raises(handshake.HandshakeError, match="4 bytes"):
        handshake.receive_hello(ours)
    ours.close()
    theirs.close()
