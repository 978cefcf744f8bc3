"""NVLink: which NVIDIA devices of this host a fast link connects, directly or through others."""

from collections.abc import Mapping
from itertools import combinations

import pynvml


def groups(handles: Mapping[str, object]) -> dict[str, str]:
    """Return by UUID the link group of each device, named by its least UUID; "" for one alone."""
    group = {key: {key} for key in handles}
    for one, other in combinations(handles, 2):
        if group[one] is not group[other] and _linked(handles[one], handles[other]):
            joined = group[one] | group[other]
            group.update(dict.fromkeys(joined, joined))
    return {key: min(members) if len(members) > 1 else "" for key, members in group.items()}


def _linked(one: object, other: object) -> bool:
    index = pynvml.NVML_P2P_CAPS_INDEX_NVLINK
    try:
        status = pynvml.nvmlDeviceGetP2PStatus(one, other, index)
    except pynvml.NVMLError:
        # Not supported; or one stopped answering just now, which the next look tells.
        return False
    return bool(status == pynvml.NVML_P2P_STATUS_OK)
