"""Which devices a program is shown, and ranks that share them out."""

import json
import os
import subprocess
import sys
import uuid

import numpy as np
from cuda.bindings import driver as cu

from tools import INT, VOID, check, download, launch, load, upload, use_device


def _uuids():
    devices = [check(cu.cuDeviceGet(index)) for index in range(check(cu.cuDeviceGetCount()))]
    return [str(uuid.UUID(bytes=check(cu.cuDeviceGetUuid(device)).bytes)) for device in devices]


def shown():
    return {"uuids": _uuids(), "beyond": cu.cuDeviceGet(check(cu.cuDeviceGetCount()))[0].name}


def environment_after_init():
    """What cuInit read holds: the first use of a device looks at the environment no more."""
    for name in ("CUDA_VISIBLE_DEVICES", "GPUPOOL_SOCKET", "GPUPOOL_TICKET", "GPUPOOL_ATTACHMENTS"):
        os.environ[name] = "changed"
    again = cu.cuInit(0)[0].name
    use_device()
    return {"uuids": _uuids(), "again": again, "sum": _sum(0, 1)}


def _sum(rank, world):
    """Return what the numbers of a rank's part come to, each one larger than before."""
    use_device()
    numbers = np.arange(rank, 1024, world, dtype=np.int32)
    pointer = upload(numbers)
    launch(load("add"), (4, 1, 1), (256, 1, 1), (VOID, INT, INT), (int(pointer), 1, numbers.size))
    return int(download(pointer, numbers).sum())


def rank():
    return {"uuids": _uuids(), "sum": _sum(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))}


def ranks():
    """Start a process for each device, as launchers of distributed programs do."""
    world = check(cu.cuDeviceGetCount())
    variables = [
        {"RANK": str(number), "WORLD_SIZE": str(world), "CUDA_VISIBLE_DEVICES": str(number)}
        for number in range(world)
    ]
    command = [sys.executable, sys.argv[0], "rank", sys.argv[2]]
    started = [
        subprocess.Popen(command, env=os.environ | each, stdout=subprocess.PIPE) for each in variables
    ]
    answers = [json.loads(one.communicate()[0]) for one in started]
    return {
        "uuids": [one["uuids"] for one in answers],
        "sum": sum(one["sum"] for one in answers),
    }


def forked_ranks():
    """Fork, after the parent has used a device, ranks that choose theirs by themselves."""
    use_device()
    answers = []
    for number in range(check(cu.cuDeviceGetCount())):
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.environ["CUDA_VISIBLE_DEVICES"] = str(number)
            check(cu.cuInit(0))
            os.write(writer, json.dumps([_uuids(), _sum(0, 1)]).encode())
            os._exit(0)
        os.close(writer)
        answers.append(json.loads(os.read(reader, 4096)))
        os.close(reader)
        os.wait()
    return {"uuids": [one[0] for one in answers], "sums": [one[1] for one in answers]}
