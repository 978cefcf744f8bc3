# ruff: noqa: ARG002 - every method takes the context, few need it
"""The conductor's RPC end: messages in, the nouns' functions, messages out."""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar

import oslo_messaging
from oslo_context.context import RequestContext

from gpupool.conductor.claims import adopting, attachments, lifecycle, profiles, quota
from gpupool.conductor.context import Parts
from gpupool.conductor.hosts import (
    admission,
    devices,
    hosts,
    pools,
    report_validation,
    sessions,
    signed_reports,
)
from gpupool.conductor.scheduling import defragmenting, queue
from gpupool.model import errors, wire
from gpupool.model.attachment import AttachmentRequest
from gpupool.model.claim import ClaimChange, ClaimRequest
from gpupool.model.envelope import Envelope
from gpupool.model.pool import Pool, PoolChange
from gpupool.model.profile import Profile
from gpupool.model.report import HostReport
from gpupool.model.wire import Payload
from gpupool.rpc import conductor as rpc
from gpupool.rpc import reports as rpc_reports

LOG = logging.getLogger(__name__)
R = TypeVar("R")
# Methods that change nothing, and reports, which come all the time.
_QUIET = ("show_", "list_", "report_")


def _answering(method: Callable[..., R]) -> Callable[..., R]:
    """Make a method one of the interface: what it was asked to change is logged when that is done.

    A GpupoolError is an answer, and not logged as a failure.
    """
    words = method.__name__.replace("_", " ")

    @wraps(method)
    def answer(self: "ConductorManager", ctxt: RequestContext, *args: Any, **named: Any) -> R:
        result = method(self, ctxt, *args, **named)
        if not method.__name__.startswith(_QUIET):
            LOG.info("%s %s: done", words, _subject(*args, *named.values()))
        return result

    answering: Callable[..., R] = oslo_messaging.expected_exceptions(errors.GpupoolError)(answer)
    return answering


# For what agents ask all the time.
_quiet = oslo_messaging.expected_exceptions(errors.GpupoolError)


def _subject(first: Any, *_: Any) -> str:
    """Return the id of what a method is about: its first argument, or in that."""
    return str(first.get("id", "")) if isinstance(first, dict) else str(first)


class ConductorManager:
    """Implements rpc.conductor.ConductorApi, where each method is described."""

    target = oslo_messaging.Target(version=rpc.VERSION)

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @_answering
    def report_host(self, ctxt: RequestContext, report: Payload) -> Payload:
        """See ConductorApi."""
        report_validation.check_sizes(report)
        taken = signed_reports.take_unsigned(self._parts, wire.load(HostReport, report))
        return wire.dump(taken)

    @_answering
    def create_claim(self, ctxt: RequestContext, claim_id: str, request: Payload) -> Payload:
        """See ConductorApi."""
        wanted = wire.load(ClaimRequest, request)
        return wire.dump(lifecycle.create(self._parts, ctxt, claim_id, wanted))

    @_answering
    def adopt_claim(
        self, ctxt: RequestContext, claim_id: str, consumer_id: str, request: Payload
    ) -> Payload:
        """See ConductorApi."""
        wanted = wire.load(ClaimRequest, request)
        return wire.dump(adopting.adopt(self._parts, ctxt, claim_id, consumer_id, wanted))

    @_answering
    def update_claim(self, ctxt: RequestContext, claim_id: str, change: Payload) -> Payload:
        """See ConductorApi."""
        return wire.dump(self._parts.commit(lifecycle.update, claim_id, wire.load(ClaimChange, change)))

    @_answering
    def release_claim(self, ctxt: RequestContext, claim_id: str) -> Payload:
        """See ConductorApi."""
        return wire.dump(self._parts.commit(lifecycle.release, claim_id))

    def wake_queue(self, ctxt: RequestContext) -> None:
        """See ConductorApi."""
        self._parts.wake_here()

    def echo(self, ctxt: RequestContext, token: str) -> None:
        """See ConductorApi."""
        self._parts.dependencies.heard(token)

    @_answering
    def show_queue(self, ctxt: RequestContext, pool_id: str) -> list[Payload]:
        """See ConductorApi."""
        return [wire.dump(entry) for entry in queue.show(self._parts, pool_id)]

    @_answering
    def create_attachment(
        self,
        ctxt: RequestContext,
        attachment_id: str,
        request: Payload,
    ) -> Payload:
        """See ConductorApi."""
        wanted = wire.load(AttachmentRequest, request)
        at_most = self._parts.conf.conductor.max_attachments_per_claim
        made = self._parts.commit(attachments.create, attachment_id, wanted, at_most)
        # The API reads the ticket from the database: no message shows it.
        return wire.dump(replace(made, ticket="", environment={}))

    @_answering
    def delete_attachment(self, ctxt: RequestContext, attachment_id: str) -> None:
        """See ConductorApi."""
        self._parts.commit(attachments.delete, attachment_id)

    @_answering
    def delete_session(self, ctxt: RequestContext, session_id: str) -> None:
        """See ConductorApi."""
        self._parts.commit(sessions.end, session_id)

    @_answering
    def create_pool(self, ctxt: RequestContext, pool: Payload) -> Payload:
        """See ConductorApi."""
        return wire.dump(self._parts.commit(pools.create, wire.load(Pool, pool)))

    @_answering
    def update_pool(self, ctxt: RequestContext, pool_id: str, change: Payload) -> Payload:
        """See ConductorApi."""
        return wire.dump(pools.update(self._parts, pool_id, wire.load(PoolChange, change)))

    @_answering
    def delete_pool(self, ctxt: RequestContext, pool_id: str) -> None:
        """See ConductorApi."""
        self._parts.commit(pools.delete, pool_id)
        self._parts.shown.forget(pool_id)

    @_answering
    def defragment(
        self, ctxt: RequestContext, pool_id: str, dry_run: bool, limit: int | None
    ) -> list[Payload]:
        """See ConductorApi."""
        made = defragmenting.defragment(self._parts, pool_id, dry_run, limit)
        return [wire.dump(move) for move in made]

    @_answering
    def show_quotas(self, ctxt: RequestContext, project_id: str) -> list[Payload]:
        """See ConductorApi."""
        return [wire.dump(each) for each in quota.show(self._parts, project_id)]

    @_answering
    def list_quotas(self, ctxt: RequestContext, after: str, most: int) -> list[Payload]:
        """See ConductorApi."""
        return [wire.dump(each) for each in quota.list_(self._parts, after, most)]

    @_answering
    def create_profile(self, ctxt: RequestContext, profile: Payload) -> Payload:
        """See ConductorApi."""
        return wire.dump(profiles.create(self._parts, wire.load(Profile, profile)))

    @_answering
    def update_profile(self, ctxt: RequestContext, profile_id: str, changes: Payload) -> Payload:
        """See ConductorApi."""
        return wire.dump(profiles.update(self._parts, profile_id, changes))

    @_answering
    def delete_profile(self, ctxt: RequestContext, profile_id: str) -> None:
        """See ConductorApi."""
        self._parts.commit(profiles.delete, profile_id)

    @_answering
    def set_host_pool(self, ctxt: RequestContext, host_id: str, pool_id: str) -> Payload:
        """See ConductorApi."""
        return wire.dump(hosts.set_pool(self._parts, host_id, pool_id))

    @_answering
    def set_host_enabled(
        self, ctxt: RequestContext, host_id: str, enabled: bool, reason: str
    ) -> Payload:
        """See ConductorApi."""
        return wire.dump(hosts.set_enabled(self._parts, host_id, enabled, reason))

    @_answering
    def delete_host(self, ctxt: RequestContext, host_id: str) -> None:
        """See ConductorApi."""
        hosts.delete(self._parts, host_id)

    @_answering
    def admit_host(self, ctxt: RequestContext, host_id: str, fingerprint: str) -> Payload:
        """See ConductorApi."""
        return wire.dump(self._parts.commit(admission.admit, host_id, fingerprint))

    @_answering
    def revoke_host(self, ctxt: RequestContext, host_id: str) -> Payload:
        """See ConductorApi."""
        return wire.dump(self._parts.commit(admission.revoke, host_id))

    @_answering
    def set_device_enabled(
        self,
        ctxt: RequestContext,
        device_id: str,
        enabled: bool,
        reason: str,
    ) -> Payload:
        """See ConductorApi."""
        return wire.dump(devices.set_enabled(self._parts, device_id, enabled, reason))

    @_answering
    def delete_device(self, ctxt: RequestContext, device_id: str) -> None:
        """See ConductorApi."""
        devices.delete(self._parts, device_id)


class ReportsManager:
    """Implements rpc.reports.ReportsApi, all that an agent's account of the message service reaches."""

    target = oslo_messaging.Target(version=rpc_reports.VERSION)

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @_quiet
    def introduce(self, ctxt: RequestContext, message: Payload) -> Payload:
        """See ReportsApi."""
        return wire.dump(admission.introduce(self._parts, wire.load(Envelope, message)))

    @_quiet
    def report(self, ctxt: RequestContext, message: Payload) -> Payload:
        """See ReportsApi."""
        return wire.dump(signed_reports.take(self._parts, wire.load(Envelope, message)))
