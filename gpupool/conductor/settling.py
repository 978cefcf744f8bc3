"""Does in Placement what reports and operators left to be done.

It is done by the queue's thread: Placement may be slow or gone, and reports must be answered then
too. Nothing is lost with a conductor: the next report says the same again.
"""

import logging

from gpupool.conductor import releasing
from gpupool.conductor.isolation import isolated
from gpupool.conductor.parts import Parts
from gpupool.db import devices, hosts
from gpupool.model import errors

LOG = logging.getLogger(__name__)


def settle(parts: Parts) -> None:
    """Do what was noted; what Placement does not take now is noted again by the next report."""
    host_ids, gone = parts.left.take()
    try:
        for host_id in host_ids:
            with isolated(f"providers of host {host_id} follow later"):
                _follow(parts, host_id)
        releasing.drop(parts, gone)
    except errors.Unavailable as exc:
        LOG.warning("Placement follows later: %s", exc)


def _follow(parts: Parts, host_id: str) -> None:
    with parts.database.reader() as session:
        found = hosts.list_(session, {"id": host_id})
        owned = devices.list_(session, {"host_id": host_id})
    for host in found:
        parts.inventory.follow(host, owned)
