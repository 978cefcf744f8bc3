"""A driver process: calls a vendor's library for the agent, which kills it when a call does not return.

Run as ``python -I -m gpupool.drivers.child MODULE PARENT DESCRIPTOR``, by ``process.DriverProcess``.
MODULE has ``answer``; DESCRIPTOR is a connected SOCK_SEQPACKET socket. Each packet is one JSON object:
``{"id": N, "ask": NAME, ...}`` and back ``{"id": N, "answer": ANY}`` or ``{"id": N, "error": TEXT}``.
Little is imported: there is one such process for each device.
"""

import ctypes
import importlib
import json
import os
import resource
import signal
import socket
import sys
from typing import Any

from gpupool.drivers.protocol import PACKET_MAX, VendorError

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Answer until the agent hangs up or dies."""
    module, parent, descriptor = sys.argv[1:]
    _die_with(int(parent))
    # No core file of a library that crashes again and again, and nothing for what it starts.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.set_inheritable(int(descriptor), False)
    connection = socket.socket(fileno=int(descriptor))
    vendor = importlib.import_module(module)
    while packet := connection.recv(PACKET_MAX):
        connection.send(_reply(vendor, json.loads(packet)))


def _reply(vendor: Any, question: dict[str, Any]) -> bytes:
    reply: dict[str, Any] = {"id": question["id"]}
    try:
        reply["answer"] = vendor.answer(question)
        return json.dumps(reply).encode()
    except VendorError as exc:
        reply["error"] = str(exc)
    except Exception as exc:
        # What the library gave can't even be read: the agent hears of it as of any other error.
        reply["error"] = f"{type(exc).__name__}: {exc}"
    reply.pop("answer", None)
    reply["error"] = reply["error"][:1000]
    return json.dumps(reply).encode()


def _die_with(parent: int) -> None:
    """Ask the kernel to kill this process when the agent's thread that started it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the agent died before this process could follow it")


if __name__ == "__main__":
    main()
