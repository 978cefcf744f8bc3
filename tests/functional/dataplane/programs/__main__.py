"""Programs that know nothing of gpupool: ``python programs NAME KERNELS`` runs one and prints JSON.

They use NVIDIA's cuda-bindings, whatever libcuda.so.1 the loader finds.
"""

import json
import sys

import devices
import life
import memory
import work
from cuda.bindings import driver as cu

import tools

name = sys.argv[1]
program = next(
    getattr(module, name) for module in (work, memory, life, devices, tools) if hasattr(module, name)
)
if name != "init":
    tools.check(cu.cuInit(0))
print(json.dumps(program()))
