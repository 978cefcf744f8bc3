"""Demands: equal ones are one, wherever they come from."""

import os
import pickle
import subprocess
import sys

from tests.unit.allocator.rooms import demand

SCRIPT = """
import pickle, sys
from gpupool.allocator.demand import Demand
sent = pickle.load(sys.stdin.buffer)
print(sent in {Demand(count=1, compute=30, memory_mib=5, host="h")})
"""


def test_a_demand_of_another_process_is_equal_to_one_of_this() -> None:
    """Where texts have other hashes."""
    sent = pickle.dumps(demand(compute=30, memory_mib=5, host="h"))
    for seed in "12":
        environment = os.environ | {"PYTHONHASHSEED": seed}
        ran = subprocess.run(
            [sys.executable, "-c", SCRIPT], input=sent, env=environment, capture_output=True, check=True
        )
        assert ran.stdout == b"True\n"
