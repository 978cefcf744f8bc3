"""The steps of the demo, from a claim to a running program and back to nothing."""

import sys
from pathlib import Path

from gpupool.demo.shell import Shell

MATMUL = Path(__file__).resolve().parent / "matmul.py"
DEVICE = ("-c", "Host", "-c", "Key", "-c", "Product", "-c", "Compute granted", "-c", "Memory granted")
VGPU = ("-c", "Device", "-c", "Compute", "-c", "Memory", "-c", "State")
CLAIM = ("-c", "name", "-c", "state", "-c", "compute", "-c", "memory_mib")


class Demo:
    """The steps; ``shell`` shows what it runs and counts what failed."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._matmul = [sys.executable, str(MATMUL)]

    def run(self) -> None:
        """Take every step in turn."""
        for step in (self.look, self.quarter, self.refuse, self.halves, self.release):
            step()

    def look(self) -> None:
        """Show what there is, before anything is granted."""
        shell = self._shell
        shell.title("Two hosts with two devices each, in one pool; nothing is granted")
        shell.openstack("gpu", "device", "list", *DEVICE)
        shell.check(len(shell.items("devices")) == 4, "four devices")
        shell.openstack("gpu", "usage", "show")
        shell.check(shell.granted() == (0, 0), "nothing granted")

    def quarter(self) -> None:
        """Claim a quarter of a device and run a program on it."""
        shell = self._shell
        shell.title("Claim a quarter of a device's compute and 512 MiB of its memory")
        sizes = ("--compute", "25", "--memory-mib", "512")
        shell.openstack("gpu", "claim", "create", "--name", "quarter", *sizes, "--wait", *CLAIM)
        shell.check(shell.granted() == (25, 512), "25 % and 512 MiB granted")
        shell.title("Run a program of NVIDIA's cuda-bindings on it; it knows nothing of gpupool")
        said = self._matmul_on("quarter")
        shell.check("device 0:" in said and "device 1:" not in said, "it sees one device")
        shell.check(", 512 MiB" in said, "of 512 MiB")
        shell.check("product equals NumPy's" in said, "its matrix product is right")

    def refuse(self) -> None:
        """Show that the claim's memory is all there is."""
        shell = self._shell
        shell.title("Allocating 513 MiB is refused, and the program goes on")
        said = self._matmul_on("quarter", "--allocate-mib", "513")
        shell.check("513 MiB: CUDA_ERROR_OUT_OF_MEMORY" in said, "513 MiB refused")
        shell.check("product equals NumPy's" in said, "the program went on")

    def halves(self) -> None:
        """Show that two claims share one device."""
        shell = self._shell
        shell.title("Two claims of 50 % share one device")
        free = next(item for item in shell.items("devices") if item["compute_granted"] == 0)
        device = f"{free['host']}/{free['key']}"
        sizes = ("--compute", "50", "--memory-mib", "1024")
        place = ("--tier", "dedicated", "--device", device, *sizes)
        for name in ("half-1", "half-2"):
            shell.openstack("gpu", "claim", "create", "--name", name, *place, "--wait", *CLAIM)
        shell.openstack("gpu", "vgpu", "list", "--device", device, *VGPU)
        shell.check(len(shell.items("vgpus", device_id=free["id"])) == 2, "both on one device")
        programs = [self._program(name) for name in ("half-1", "half-2")]
        for said in shell.together(programs):
            shell.check("product equals NumPy's" in said, "its matrix product is right")
        shell.openstack("gpu", "usage", "show")
        shell.check(shell.granted() == (125, 2560), "125 % and 2560 MiB granted in all")

    def release(self) -> None:
        """Release all, and show that nothing is left."""
        shell = self._shell
        shell.title("Release the claims")
        shell.openstack("gpu", "claim", "delete", "quarter", "half-1", "half-2", "--wait")
        shell.openstack("gpu", "usage", "show")
        shell.check(shell.granted() == (0, 0), "nothing granted")
        shell.title("Placement, the ledger of all grants, is empty")
        left = shell.placement_allocations()
        for provider, allocations in left.items():
            shell.say(f"{provider:24} {len(allocations)} allocations")
        shell.check(len(left) == 4 and not any(left.values()), "no allocation in Placement")
        shell.check(not shell.items("attachments"), "no attachment left")

    def _program(self, claim: str, *arguments: str) -> tuple[str, ...]:
        return ("gpu", "run", "--claim", claim, "--", *self._matmul, *arguments)

    def _matmul_on(self, claim: str, *arguments: str) -> str:
        return self._shell.openstack(*self._program(claim, *arguments))
