"""The reference device (D6): simulated on the CPU by librefcuda, and reported as simulated."""

from itertools import zip_longest

from oslo_config import cfg

from gpupool.dataplane import paths
from gpupool.dataplane.worker import Sandbox
from gpupool.drivers import base
from gpupool.drivers.simulated_parts import SimulatedParts
from gpupool.model import errors, simulated, traits
from gpupool.model.device import SharingMode
from gpupool.model.report import DeviceReport
from gpupool.model.share import Part

VENDOR = "gpupool"
PRODUCT = "reference"


class ReferenceDriver(base.Driver):
    """As many devices as ``[reference] devices`` says, named ref-0, ref-1, ..."""

    sandbox = Sandbox.REFERENCE

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._options = conf.reference
        if self._options.sharing_mode != SharingMode.SHARED:
            self.parts = SimulatedParts(self._keys)

    def discover(self) -> list[DeviceReport]:
        """See Driver."""
        groups = self._options.link_groups
        return [
            _report(key, self._options, link_group)
            for key, link_group in zip_longest(self._keys(), groups[: len(self._keys())], fillvalue="")
        ]

    def open(self, device_key: str, part: Part | None = None) -> base.DeviceHandle:
        """See Driver."""
        if device_key not in self._keys():
            raise errors.NotFound(f"no reference device {device_key}; there are {self._options.devices}")
        environment = {
            "REFCUDA_DEVICES": str(self._options.devices),
            "REFCUDA_MEMORY_MIB": str(self._memory_mib(part)),
            "REFCUDA_COMPUTE_UNITS": str(self._options.compute_units),
        }
        ordinal, context_mib = self._keys().index(device_key), self._options.context_mib
        reserved = base.contexts(self._options.reserved_mib, context_mib)
        return base.DeviceHandle(
            paths.REFERENCE,
            ordinal,
            self.sandbox,
            environment,
            context_mib,
            reserved,
            memory_in_host=True,
        )

    def _memory_mib(self, part: Part | None) -> int:
        """Return how much memory a program sees of a device, or of a part of it."""
        slices = simulated.SLICES if part is None else simulated.KINDS[part.kind]
        total: int = self._options.memory_mib
        return total * slices // simulated.SLICES

    def _keys(self) -> list[str]:
        return [f"ref-{number}" for number in range(self._options.devices)]


def _report(key: str, options: cfg.ConfigOpts.GroupAttr, link_group: str) -> DeviceReport:
    mode = SharingMode(options.sharing_mode)
    product = PRODUCT if mode == SharingMode.SHARED else simulated.PRODUCT
    return DeviceReport(
        key=key,
        vendor=VENDOR,
        product=product,
        sharing_mode=mode,
        memory_mib=max(options.memory_mib - options.reserved_mib, 0),
        reserved_mib=options.reserved_mib,
        traits=traits.common(VENDOR, product, mode),
        simulated=True,
        link_group=link_group,
    )
