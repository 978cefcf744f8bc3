"""The custom traits of a host's devices, which are bounded: Placement keeps each for ever."""

from collections.abc import Iterable

from gpupool.conductor.transaction import Transaction
from gpupool.db import host_traits
from gpupool.model import errors
from gpupool.model.device import Device
from gpupool.model.host import Host
from gpupool.placement import names

_CUSTOM = "CUSTOM_"


def note(transaction: Transaction, host: Host, changed: Iterable[Device]) -> None:
    """Note the custom traits of devices that are new or have changed; the caller holds the host.

    Raises Invalid when the host's devices would have had too many different ones.
    """
    of_devices = {trait for device in changed for trait in names.device_traits(device)}
    wanted = {trait for trait in of_devices if trait.startswith(_CUSTOM)}
    if not wanted:
        return
    had = host_traits.names(transaction.session, host.id)
    most = transaction.conf.conductor.max_traits_per_host
    count = len(had | wanted)
    if wanted - had and count > most:
        raise errors.Invalid(
            f"the devices of host {host.name} would have had {count} different custom traits; allowed: "
            f"{most}, [conductor] max_traits_per_host; an operator who admits the host again has them "
            "counted anew"
        )
    host_traits.add(transaction.session, host.id, wanted - had)
