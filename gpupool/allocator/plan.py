"""A plan: where the vGPUs of a claim and its program go."""

from dataclasses import dataclass

from gpupool.model.share import Share


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One share for each vGPU of the claim, in the order of the vGPUs' indexes.

    ``host`` is the program's, where its CPU and memory are taken; None where these are no matter.
    ``remote`` is how many of the shares are of devices of other hosts.
    """

    host: str | None
    shares: tuple[Share, ...]
    remote: int = 0

    @property
    def device_ids(self) -> tuple[str, ...]:
        """Return the device of each share."""
        return tuple(share.device_id for share in self.shares)
