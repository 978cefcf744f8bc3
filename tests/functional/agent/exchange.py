"""Records what a runtime sends: ``python -m tests.functional.agent.exchange RUNTIME`` prints it as JSON.

``hellos`` are its packets to the agent, ``records`` what it wrote into the ring: call number, whether it
waits for the answer, and content. The calls it makes name no address, which another session has not.
"""

import json
import mmap
import socket
import struct
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

from gpupool.dataplane import build, handshake
from testbed.local_agent import LocalAgent, Vgpu
from tests.functional.dataplane.raw_client import NO_SLOT, RECORD, RECORDS_AT

PROGRAM = """
from ctypes import *
driver = CDLL("libcuda.so.1")
context, stream, size, other = c_void_p(), c_void_p(), c_size_t(), c_size_t()
events, number, low, high, span = [c_void_p(), c_void_p()], c_int(), c_int(), c_int(), c_float()
def call(name, *arguments):
    error = getattr(driver, name)(*arguments)
    assert not error, (name, error)
call("cuInit", 0)
call("cuDevicePrimaryCtxRetain", byref(context), 0)
call("cuCtxSetCurrent", context)
call("cuMemAlloc_v2", byref(size), c_size_t(4096))
call("cuMemGetInfo_v2", byref(size), byref(other))
call("cuCtxGetLimit", byref(size), 0)
call("cuCtxGetStreamPriorityRange", byref(low), byref(high))
call("cuStreamCreateWithPriority", byref(stream), 1, 0)
for event in events:
    call("cuEventCreate", byref(event), 0)
    call("cuEventRecord", event, stream)
call("cuStreamWaitEvent", None, events[1], 0)
call("cuEventSynchronize", events[1])
call("cuEventElapsedTime", byref(span), *events)
call("cuStreamQuery", stream)
call("cuStreamSynchronize", stream)
call("cuCtxSynchronize")
for event in events:
    call("cuEventDestroy_v2", event)
call("cuStreamDestroy_v2", stream)
call("cuCtxSynchronize")
"""


RECORDED = Path(__file__).with_name("recorded")


def recorded(commit: str) -> dict:
    """Return what the runtime of a commit sent."""
    return json.loads((RECORDED / f"{commit}.json").read_text())


def records(ring: mmap.mmap) -> list[tuple[int, bool, str]]:
    """Return what was written into a ring that was not filled once."""
    found, at = [], 0
    (head,) = struct.unpack_from("<I", ring, 0)
    while at < head:
        size, call, slot, _, _ = RECORD.unpack_from(ring, RECORDS_AT + at)
        content = ring[RECORDS_AT + at + RECORD.size : RECORDS_AT + at + size]
        found.append((call, slot != NO_SLOT, content.hex()))
        at += -(-size // 64) * 64
    return found


def main() -> None:
    rings: list[mmap.mmap] = []
    hellos: list[str] = []
    make_ring, receive_hello = handshake.make_ring, handshake.receive_hello

    def keep_ring(size_mib: int) -> int:
        ring = make_ring(size_mib)
        rings.append(mmap.mmap(ring, size_mib << 20))
        return ring

    def keep_hello(connection: socket.socket) -> handshake.Hello:
        hellos.append(connection.recv(1000, socket.MSG_PEEK).hex())
        return receive_hello(connection)

    with (
        patch.object(handshake, "make_ring", keep_ring),
        patch.object(handshake, "receive_hello", keep_hello),
        LocalAgent(build.ensure(), (Vgpu(100, 64),)) as agent,
    ):
        environment = {**agent.program_environment(), "LD_LIBRARY_PATH": sys.argv[1]}
        subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=True)
        found = {"hellos": hellos, "records": records(rings[0])}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
