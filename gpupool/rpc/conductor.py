"""The conductor's interface. Payloads are dataclasses of gpupool.model as JSON types (model.wire)."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar

import oslo_messaging
from oslo_context.context import RequestContext

from gpupool.model import wire
from gpupool.model.attachment import Attachment, AttachmentRequest
from gpupool.model.claim import Claim, ClaimChange, ClaimRequest
from gpupool.model.device import Device
from gpupool.model.host import Host
from gpupool.model.pool import Pool, PoolChange
from gpupool.model.profile import Profile
from gpupool.model.proposed_move import ProposedMove
from gpupool.model.queue import QueueEntry
from gpupool.model.quota import Quota
from gpupool.model.wire import Payload
from gpupool.rpc import transport

TOPIC = "gpupool-conductor"
VERSION = "1.4"
# The version in which a method came; one that is not here, 1.0. A call asks for that version and no
# later one, so that conductors of other releases take what they know and refuse the rest by its name.
# Since 1.2 create_attachment answers without the ticket.
_SINCE: Mapping[str, str] = {
    "echo": "1.1",
    "admit_host": "1.2",
    "revoke_host": "1.2",
    "set_host_enabled": "1.3",
    "update_profile": "1.3",
    "delete_session": "1.3",
    "list_quotas": "1.3",
    "adopt_claim": "1.4",
}
_OLDEST = "1.0"
T = TypeVar("T")


class ConductorApi(Protocol):
    """What a conductor's manager implements; every error is one of gpupool.model.errors.

    Project rules (who may do it) are the API's; the conductor checks what is possible. Methods that
    make something take its id from the caller, so that the same message delivered twice makes one.
    """

    def report_host(self, ctxt: RequestContext, report: Payload) -> Payload:
        """Take a HostReport, return the DesiredState.

        As agents of a version without keys ask; Forbidden unless ``[conductor] require_signed_reports``
        is off and the host was here before. Others use rpc.reports.
        """

    def create_claim(self, ctxt: RequestContext, claim_id: str, request: Payload) -> Payload:
        """Take a ClaimRequest, return the Claim, queued, of the context's project and user."""

    def adopt_claim(
        self, ctxt: RequestContext, claim_id: str, consumer_id: str, request: Payload
    ) -> Payload:
        """Take a ClaimRequest, return the Claim, binding, of what a consumer holds in Placement already.

        The consumer is the context's project's, and of another service.
        """

    def update_claim(self, ctxt: RequestContext, claim_id: str, change: Payload) -> Payload:
        """Take a ClaimChange, return the Claim."""

    def release_claim(self, ctxt: RequestContext, claim_id: str) -> Payload:
        """Return the Claim, releasing or released; Conflict when it had ended already."""

    def create_attachment(self, ctxt: RequestContext, attachment_id: str, request: Payload) -> Payload:
        """Take an AttachmentRequest, return the Attachment, pending, without its secrets."""

    def delete_attachment(self, ctxt: RequestContext, attachment_id: str) -> None:
        """Take an attachment away; its programs lose their devices."""

    def delete_session(self, ctxt: RequestContext, session_id: str) -> None:
        """Tell a session's host to end it, as soon as it can; its program's calls fail from then on."""

    def create_pool(self, ctxt: RequestContext, pool: Payload) -> Payload:
        """Take and return a Pool."""

    def update_pool(self, ctxt: RequestContext, pool_id: str, change: Payload) -> Payload:
        """Take a PoolChange, return the Pool."""

    def delete_pool(self, ctxt: RequestContext, pool_id: str) -> None:
        """Delete a pool; Conflict while it has hosts or claims that have not ended."""

    def wake_queue(self, ctxt: RequestContext) -> None:
        """Look at the queue soon, if this conductor is the one that serves it; nothing is answered."""

    def echo(self, ctxt: RequestContext, token: str) -> None:
        """Take a message that a conductor sent to all to see whether it comes back to itself."""

    def show_queue(self, ctxt: RequestContext, pool_id: str) -> list[Payload]:
        """Return a QueueEntry of every claim that waits for room in a pool, in their order."""

    def defragment(
        self, ctxt: RequestContext, pool_id: str, dry_run: bool, limit: int | None
    ) -> list[Payload]:
        """Return the Moves, ``limit`` at most, that gain room; unless ``dry_run``, make them."""

    def show_quotas(self, ctxt: RequestContext, project_id: str) -> list[Payload]:
        """Return the Quota of every resource of a project."""

    def list_quotas(self, ctxt: RequestContext, after: str, most: int) -> list[Payload]:
        """Return the Quotas of all projects that have claims or limits of their own, by project.

        ``most`` projects, those after ``after``.
        """

    def create_profile(self, ctxt: RequestContext, profile: Payload) -> Payload:
        """Take and return a Profile."""

    def update_profile(self, ctxt: RequestContext, profile_id: str, changes: Payload) -> Payload:
        """Write fields of a Profile by name, None for nothing; return the Profile. Claims stay."""

    def delete_profile(self, ctxt: RequestContext, profile_id: str) -> None:
        """Delete a profile; claims made from it stay."""

    def set_host_pool(self, ctxt: RequestContext, host_id: str, pool_id: str) -> Payload:
        """Move a host to another pool; Conflict while vGPUs are on it; return the Host."""

    def set_host_enabled(
        self, ctxt: RequestContext, host_id: str, enabled: bool, reason: str
    ) -> Payload:
        """Let a host take new vGPUs or not; return the Host. Those it has stay."""

    def delete_host(self, ctxt: RequestContext, host_id: str) -> None:
        """Forget a host and its devices; Conflict while it is up or holds a vGPU."""

    def admit_host(self, ctxt: RequestContext, host_id: str, fingerprint: str) -> Payload:
        """Believe a key that a host introduced, and no other; return the Host.

        Conflict when it introduced no such key, or it is revoked.
        """

    def revoke_host(self, ctxt: RequestContext, host_id: str) -> Payload:
        """Believe no key of a host any more; return the Host, down."""

    def set_device_enabled(
        self, ctxt: RequestContext, device_id: str, enabled: bool, reason: str
    ) -> Payload:
        """Let a device take new vGPUs or not; return the Device."""

    def delete_device(self, ctxt: RequestContext, device_id: str) -> None:
        """Forget a device; Conflict while its host reports it or it holds a vGPU."""


class ConductorClient:
    """Calls a conductor and waits for its answer; Unavailable when there is none in time."""

    def __init__(self, messaging: oslo_messaging.Transport, timeout: float = 30) -> None:
        self._client = transport.get_client(
            messaging, oslo_messaging.Target(topic=TOPIC, version=_OLDEST), timeout
        )
        self._replies = transport.ReplyQueue(messaging)
        self._timeout = timeout

    def _call(self, ctxt: RequestContext, method: str, **arguments: Any) -> Any:
        self._replies.wait(self._timeout)
        with transport.reaching(), transport.answering(method):
            client = self._client.prepare(
                transport_options=transport.TAKEN, version=_SINCE.get(method, _OLDEST)
            )
            return client.call(ctxt, method, **arguments)

    def create_claim(self, ctxt: RequestContext, claim_id: str, request: ClaimRequest) -> Claim:
        """See ConductorApi."""
        plain = wire.dump(request)
        return wire.load(Claim, self._call(ctxt, "create_claim", claim_id=claim_id, request=plain))

    def adopt_claim(
        self, ctxt: RequestContext, claim_id: str, consumer_id: str, request: ClaimRequest
    ) -> Claim:
        """See ConductorApi."""
        sent = {"claim_id": claim_id, "consumer_id": consumer_id, "request": wire.dump(request)}
        return wire.load(Claim, self._call(ctxt, "adopt_claim", **sent))

    def update_claim(self, ctxt: RequestContext, claim_id: str, change: ClaimChange) -> Claim:
        """See ConductorApi."""
        plain = wire.dump(change)
        return wire.load(Claim, self._call(ctxt, "update_claim", claim_id=claim_id, change=plain))

    def release_claim(self, ctxt: RequestContext, claim_id: str) -> Claim:
        """See ConductorApi."""
        return wire.load(Claim, self._call(ctxt, "release_claim", claim_id=claim_id))

    def create_attachment(
        self, ctxt: RequestContext, attachment_id: str, request: AttachmentRequest
    ) -> Attachment:
        """See ConductorApi."""
        answer = self._call(
            ctxt, "create_attachment", attachment_id=attachment_id, request=wire.dump(request)
        )
        return wire.load(Attachment, answer)

    def delete_attachment(self, ctxt: RequestContext, attachment_id: str) -> None:
        """See ConductorApi."""
        self._call(ctxt, "delete_attachment", attachment_id=attachment_id)

    def delete_session(self, ctxt: RequestContext, session_id: str) -> None:
        """See ConductorApi."""
        self._call(ctxt, "delete_session", session_id=session_id)

    def create_pool(self, ctxt: RequestContext, pool: Pool) -> Pool:
        """See ConductorApi."""
        return wire.load(Pool, self._call(ctxt, "create_pool", pool=wire.dump(pool)))

    def update_pool(self, ctxt: RequestContext, pool_id: str, change: PoolChange) -> Pool:
        """See ConductorApi."""
        plain = wire.dump(change)
        return wire.load(Pool, self._call(ctxt, "update_pool", pool_id=pool_id, change=plain))

    def delete_pool(self, ctxt: RequestContext, pool_id: str) -> None:
        """See ConductorApi."""
        self._call(ctxt, "delete_pool", pool_id=pool_id)

    def wake_queue(self, ctxt: RequestContext) -> None:
        """See ConductorApi; every conductor is told, and a message that is lost costs only time."""
        with transport.reaching():
            self._client.prepare(fanout=True, retry=1).cast(ctxt, "wake_queue")

    def echo(self, ctxt: RequestContext, token: str) -> None:
        """See ConductorApi; every conductor is told, and the one that knows ``token`` is meant."""
        with transport.reaching():
            client = self._client.prepare(fanout=True, retry=1, version=_SINCE["echo"])
            client.cast(ctxt, "echo", token=token)

    def show_queue(self, ctxt: RequestContext, pool_id: str) -> list[QueueEntry]:
        """See ConductorApi."""
        return _all(QueueEntry, self._call(ctxt, "show_queue", pool_id=pool_id))

    def defragment(
        self, ctxt: RequestContext, pool_id: str, dry_run: bool, limit: int | None
    ) -> list[ProposedMove]:
        """See ConductorApi."""
        asked = {"pool_id": pool_id, "dry_run": dry_run, "limit": limit}
        return _all(ProposedMove, self._call(ctxt, "defragment", **asked))

    def show_quotas(self, ctxt: RequestContext, project_id: str) -> list[Quota]:
        """See ConductorApi."""
        return _all(Quota, self._call(ctxt, "show_quotas", project_id=project_id))

    def list_quotas(self, ctxt: RequestContext, after: str, most: int) -> list[Quota]:
        """See ConductorApi."""
        return _all(Quota, self._call(ctxt, "list_quotas", after=after, most=most))

    def create_profile(self, ctxt: RequestContext, profile: Profile) -> Profile:
        """See ConductorApi."""
        return wire.load(Profile, self._call(ctxt, "create_profile", profile=wire.dump(profile)))

    def update_profile(
        self, ctxt: RequestContext, profile_id: str, changes: Mapping[str, Any]
    ) -> Profile:
        """See ConductorApi."""
        answer = self._call(ctxt, "update_profile", profile_id=profile_id, changes=dict(changes))
        return wire.load(Profile, answer)

    def delete_profile(self, ctxt: RequestContext, profile_id: str) -> None:
        """See ConductorApi."""
        self._call(ctxt, "delete_profile", profile_id=profile_id)

    def set_host_pool(self, ctxt: RequestContext, host_id: str, pool_id: str) -> Host:
        """See ConductorApi."""
        return wire.load(Host, self._call(ctxt, "set_host_pool", host_id=host_id, pool_id=pool_id))

    def set_host_enabled(self, ctxt: RequestContext, host_id: str, enabled: bool, reason: str) -> Host:
        """See ConductorApi."""
        answer = self._call(ctxt, "set_host_enabled", host_id=host_id, enabled=enabled, reason=reason)
        return wire.load(Host, answer)

    def delete_host(self, ctxt: RequestContext, host_id: str) -> None:
        """See ConductorApi."""
        self._call(ctxt, "delete_host", host_id=host_id)

    def admit_host(self, ctxt: RequestContext, host_id: str, fingerprint: str) -> Host:
        """See ConductorApi."""
        answer = self._call(ctxt, "admit_host", host_id=host_id, fingerprint=fingerprint)
        return wire.load(Host, answer)

    def revoke_host(self, ctxt: RequestContext, host_id: str) -> Host:
        """See ConductorApi."""
        return wire.load(Host, self._call(ctxt, "revoke_host", host_id=host_id))

    def set_device_enabled(
        self, ctxt: RequestContext, device_id: str, enabled: bool, reason: str
    ) -> Device:
        """See ConductorApi."""
        answer = self._call(
            ctxt, "set_device_enabled", device_id=device_id, enabled=enabled, reason=reason
        )
        return wire.load(Device, answer)

    def delete_device(self, ctxt: RequestContext, device_id: str) -> None:
        """See ConductorApi."""
        self._call(ctxt, "delete_device", device_id=device_id)


def _all(cls: type[T], payloads: Iterable[Payload]) -> list[T]:
    return [wire.load(cls, payload) for payload in payloads]
