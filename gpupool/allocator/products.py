"""Products: what the devices that are sold can be cut into; facts of their vendor, nothing else.

MIG: profiles and shares are those of NVIDIA's MIG User Guide (driver 580), "Supported MIG Profiles",
https://docs.nvidia.com/datacenter/tesla/mig-user-guide/supported-mig-profiles.html; places those it
shows ``nvidia-smi mig -lgipp`` print for devices of seven compute slices, and for the A30, which has
four, those in github.com/NVIDIA/go-nvml, ``pkg/nvml/mock/gpus/a30.go``. A device has one OFA and gives
it to one part with media extensions (``+me``).

vGPU types: NVIDIA's Virtual GPU Software User Guide, "Virtual GPU Types for Supported GPUs",
https://docs.nvidia.com/vgpu/latest/grid-vgpu-user-guide/, maximum for each GPU in equal-size mode.
All parts of a device are of one type. In mixed-size mode they need not be, but lie at places that the
driver tells; a ``Partitioning`` that is ``mixed`` says that, and no table here does yet.

Devices are known by the names that NVML gives them. What the simulated device of seven slices can be cut
into is ours (``model.simulated``).
"""

from fractions import Fraction

from gpupool.allocator.partitioning import Partitioning, Profile
from gpupool.model import simulated
from gpupool.model.device import SharingMode


def partitioning(mode: SharingMode, product: str) -> Partitioning | None:
    """Return what a device of that name can be cut into, None when nothing is known of it."""
    return _TABLES.get(mode, {}).get(product)


def _mig(
    compute: int, memory: int, kinds: str, shapes: tuple[tuple[int, int, str], ...]
) -> Partitioning:
    """Return the partitioning whose ``kinds`` have these ``shapes``: slices of both, places."""
    profiles = (
        Profile(
            kind=kind,
            places=tuple(map(int, places)),
            slices=of_memory,
            compute=Fraction(of_compute, compute),
            memory=Fraction(of_memory, memory),
            media=kind.endswith("+me"),
        )
        for kind, (of_compute, of_memory, places) in zip(kinds.split(), shapes, strict=True)
    )
    return Partitioning(slices=memory, profiles=tuple(profiles), mixed=True)


def _sevenths(kinds: str) -> Partitioning:
    """Return what devices of seven compute and eight memory slices are cut into."""
    small = (1, 1, "0123456"), (1, 1, "0123456"), (1, 2, "0246"), (2, 2, "024")
    return _mig(7, 8, kinds, (*small, (3, 4, "04"), (4, 4, "0"), (7, 8, "0")))


def _quarters(kinds: str) -> Partitioning:
    """Return what devices of four slices are cut into."""
    return _mig(4, 4, kinds, ((1, 1, "0123"), (1, 1, "0123"), (2, 2, "02"), (2, 2, "02"), (4, 4, "0")))


def _vgpus(memory_gib: int, types: dict[str, tuple[int, ...]], most: int) -> Partitioning:
    """Return what a device of that memory is cut into.

    ``types`` are the sizes in GiB of each series, its name with {} for the size; ``most`` is how many
    vGPUs there may be of any type.
    """
    profiles = []
    for series, sizes in types.items():
        for size in sizes:
            count = min(memory_gib // size, most)
            share = Fraction(1, count)
            profiles.append(
                Profile(
                    kind=series.format(size),
                    places=tuple(range(count)),
                    slices=1,
                    compute=share,
                    memory=share,
                )
            )
    return Partitioning(slices=most, profiles=tuple(profiles), mixed=False)


def _simulated() -> Partitioning:
    """Return what the simulated device is cut into."""
    profiles = tuple(
        Profile(
            kind=kind,
            places=tuple(range(simulated.SLICES - slices + 1)),
            slices=slices,
            compute=Fraction(slices, simulated.SLICES),
            memory=Fraction(slices, simulated.SLICES),
        )
        for kind, slices in simulated.KINDS.items()
    )
    return Partitioning(slices=simulated.SLICES, profiles=profiles, mixed=True)


_A100_40 = _sevenths("1g.5gb 1g.5gb+me 1g.10gb 2g.10gb 3g.20gb 4g.20gb 7g.40gb")
_OF_80 = _sevenths("1g.10gb 1g.10gb+me 1g.20gb 2g.20gb 3g.40gb 4g.40gb 7g.80gb")
_OF_94 = _sevenths("1g.12gb 1g.12gb+me 1g.24gb 2g.24gb 3g.47gb 4g.47gb 7g.94gb")
_OF_96 = _sevenths("1g.12gb 1g.12gb+me 1g.24gb 2g.24gb 3g.48gb 4g.48gb 7g.96gb")
_OF_141 = _sevenths("1g.18gb 1g.18gb+me 1g.35gb 2g.35gb 3g.71gb 4g.71gb 7g.141gb")
_OF_180 = _sevenths("1g.23gb 1g.23gb+me 1g.45gb 2g.45gb 3g.90gb 4g.90gb 7g.180gb")

_MIG = {
    simulated.PRODUCT: _simulated(),
    "NVIDIA A30": _quarters("1g.6gb 1g.6gb+me 2g.12gb 2g.12gb+me 4g.24gb"),
    "NVIDIA A100-SXM4-40GB": _A100_40,
    "NVIDIA A100-PCIE-40GB": _A100_40,
    "NVIDIA A100-SXM4-80GB": _OF_80,
    "NVIDIA A100 80GB PCIe": _OF_80,
    "NVIDIA H100 80GB HBM3": _OF_80,
    "NVIDIA H100 PCIe": _OF_80,
    "NVIDIA H100 NVL": _OF_94,
    "NVIDIA GH200 480GB": _OF_96,
    "NVIDIA H200": _OF_141,
    "NVIDIA H200 NVL": _OF_141,
    "NVIDIA B200": _OF_180,
}
_T4 = _vgpus(16, {"T4-{}Q": (16, 8, 4, 2, 1), "T4-{}C": (16, 8, 4)}, most=16)
_A10 = _vgpus(24, {"A10-{}Q": (24, 12, 8, 6, 4, 3, 2, 1), "A10-{}C": (24, 12, 8, 6, 4)}, most=24)
_A40 = _vgpus(
    48, {"A40-{}Q": (48, 24, 16, 12, 8, 6, 4, 3, 2, 1), "A40-{}C": (48, 24, 16, 12, 8, 6, 4)}, most=32
)
# Devices with virtual functions show the same types, one on each function.
_VFIO = {"NVIDIA A10": _A10, "NVIDIA A40": _A40}
_TABLES = {
    SharingMode.MIG: _MIG,
    SharingMode.MDEV: {"Tesla T4": _T4, **_VFIO},
    SharingMode.VFIO: _VFIO,
}
