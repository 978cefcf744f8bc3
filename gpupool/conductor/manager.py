# ruff: noqa: ARG002 - every method takes the context, few need it
"""The conductor's RPC end: messages in, the nouns' functions, messages out.

Its endpoints together implement rpc.conductor.ConductorApi, where each method is described.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar

import oslo_messaging
from oslo_context.context import RequestContext

from gpupool.conductor.claims import attachments, lifecycle, profiles
from gpupool.conductor.claims.adopting import Adopting
from gpupool.conductor.claims.lifecycle import Claims
from gpupool.conductor.claims.profiles import Profiles
from gpupool.conductor.claims.quota import Quotas
from gpupool.conductor.dependencies import Dependencies
from gpupool.conductor.hosts import admission, pools, report_validation, sessions
from gpupool.conductor.hosts.devices import Devices
from gpupool.conductor.hosts.hosts import Hosts
from gpupool.conductor.hosts.pools import Pools
from gpupool.conductor.hosts.signed_reports import SignedReports
from gpupool.conductor.leader_notifier import LeaderNotifier
from gpupool.conductor.scheduling.defragmenting import Defragmenting
from gpupool.conductor.scheduling.queue_listing import QueueListing
from gpupool.conductor.signing_keys import ConductorKeys
from gpupool.conductor.transaction import Transactions
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
    def answer(self: Any, ctxt: RequestContext, *args: Any, **named: Any) -> R:
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


class ClaimsManager:
    """Claims, what they are attached to, and what projects may hold."""

    target = oslo_messaging.Target(version=rpc.VERSION)

    def __init__(
        self,
        transactions: Transactions,
        claims: Claims,
        adopting: Adopting,
        quotas: Quotas,
        profiles: Profiles,
    ) -> None:
        self._transactions, self._claims, self._adopting = transactions, claims, adopting
        self._quotas, self._profiles = quotas, profiles

    @_answering
    def create_claim(self, ctxt: RequestContext, claim_id: str, request: Payload) -> Payload:
        """See ConductorApi."""
        wanted = wire.load(ClaimRequest, request)
        return wire.dump(self._claims.create(ctxt, claim_id, wanted))

    @_answering
    def adopt_claim(
        self, ctxt: RequestContext, claim_id: str, consumer_id: str, request: Payload
    ) -> Payload:
        """See ConductorApi."""
        wanted = wire.load(ClaimRequest, request)
        return wire.dump(self._adopting.adopt(ctxt, claim_id, consumer_id, wanted))

    @_answering
    def update_claim(self, ctxt: RequestContext, claim_id: str, change: Payload) -> Payload:
        """See ConductorApi."""
        return wire.dump(
            self._transactions.commit(lifecycle.update, claim_id, wire.load(ClaimChange, change))
        )

    @_answering
    def release_claim(self, ctxt: RequestContext, claim_id: str) -> Payload:
        """See ConductorApi."""
        return wire.dump(self._transactions.commit(lifecycle.release, claim_id))

    @_answering
    def create_attachment(
        self,
        ctxt: RequestContext,
        attachment_id: str,
        request: Payload,
    ) -> Payload:
        """See ConductorApi."""
        wanted = wire.load(AttachmentRequest, request)
        at_most = self._transactions.conf.conductor.max_attachments_per_claim
        made = self._transactions.commit(attachments.create, attachment_id, wanted, at_most)
        # The API reads the ticket from the database: no message shows it.
        return wire.dump(replace(made, ticket="", environment={}))

    @_answering
    def delete_attachment(self, ctxt: RequestContext, attachment_id: str) -> None:
        """See ConductorApi."""
        self._transactions.commit(attachments.delete, attachment_id)

    @_answering
    def delete_session(self, ctxt: RequestContext, session_id: str) -> None:
        """See ConductorApi."""
        self._transactions.commit(sessions.end, session_id)

    @_answering
    def show_quotas(self, ctxt: RequestContext, project_id: str) -> list[Payload]:
        """See ConductorApi."""
        return [wire.dump(each) for each in self._quotas.show(project_id)]

    @_answering
    def list_quotas(self, ctxt: RequestContext, after: str, most: int) -> list[Payload]:
        """See ConductorApi."""
        return [wire.dump(each) for each in self._quotas.list_(after, most)]

    @_answering
    def create_profile(self, ctxt: RequestContext, profile: Payload) -> Payload:
        """See ConductorApi."""
        return wire.dump(self._profiles.create(wire.load(Profile, profile)))

    @_answering
    def update_profile(self, ctxt: RequestContext, profile_id: str, changes: Payload) -> Payload:
        """See ConductorApi."""
        return wire.dump(self._profiles.update(profile_id, changes))

    @_answering
    def delete_profile(self, ctxt: RequestContext, profile_id: str) -> None:
        """See ConductorApi."""
        self._transactions.commit(profiles.delete, profile_id)


class HostsManager:
    """Hosts, their keys and their devices."""

    target = oslo_messaging.Target(version=rpc.VERSION)

    def __init__(
        self,
        transactions: Transactions,
        hosts: Hosts,
        devices: Devices,
        reports: SignedReports,
    ) -> None:
        self._transactions, self._hosts = transactions, hosts
        self._devices, self._reports = devices, reports

    @_answering
    def set_host_pool(self, ctxt: RequestContext, host_id: str, pool_id: str) -> Payload:
        """See ConductorApi."""
        return wire.dump(self._hosts.set_pool(host_id, pool_id))

    @_answering
    def set_host_enabled(
        self, ctxt: RequestContext, host_id: str, enabled: bool, reason: str
    ) -> Payload:
        """See ConductorApi."""
        return wire.dump(self._hosts.set_enabled(host_id, enabled, reason))

    @_answering
    def delete_host(self, ctxt: RequestContext, host_id: str) -> None:
        """See ConductorApi."""
        self._hosts.delete(host_id)

    @_answering
    def admit_host(self, ctxt: RequestContext, host_id: str, fingerprint: str) -> Payload:
        """See ConductorApi."""
        return wire.dump(self._transactions.commit(admission.admit, host_id, fingerprint))

    @_answering
    def revoke_host(self, ctxt: RequestContext, host_id: str) -> Payload:
        """See ConductorApi."""
        return wire.dump(self._transactions.commit(admission.revoke, host_id))

    @_answering
    def set_device_enabled(
        self,
        ctxt: RequestContext,
        device_id: str,
        enabled: bool,
        reason: str,
    ) -> Payload:
        """See ConductorApi."""
        return wire.dump(self._devices.set_enabled(device_id, enabled, reason))

    @_answering
    def delete_device(self, ctxt: RequestContext, device_id: str) -> None:
        """See ConductorApi."""
        self._devices.delete(device_id)

    @_answering
    def report_host(self, ctxt: RequestContext, report: Payload) -> Payload:
        """See ConductorApi."""
        report_validation.check_sizes(report)
        taken = self._reports.take_unsigned(wire.load(HostReport, report))
        return wire.dump(taken)


class PoolsManager:
    """Pools and their queues, and what conductors tell each other."""

    target = oslo_messaging.Target(version=rpc.VERSION)

    def __init__(
        self,
        *,
        transactions: Transactions,
        pools: Pools,
        listing: QueueListing,
        defragmenting: Defragmenting,
        notifier: LeaderNotifier,
        dependencies: Dependencies,
    ) -> None:
        self._transactions, self._pools, self._listing = transactions, pools, listing
        self._defragmenting = defragmenting
        self._notifier, self._dependencies = notifier, dependencies

    @_answering
    def create_pool(self, ctxt: RequestContext, pool: Payload) -> Payload:
        """See ConductorApi."""
        return wire.dump(self._transactions.commit(pools.create, wire.load(Pool, pool)))

    @_answering
    def update_pool(self, ctxt: RequestContext, pool_id: str, change: Payload) -> Payload:
        """See ConductorApi."""
        return wire.dump(self._pools.update(pool_id, wire.load(PoolChange, change)))

    @_answering
    def delete_pool(self, ctxt: RequestContext, pool_id: str) -> None:
        """See ConductorApi."""
        self._transactions.commit(pools.delete, pool_id)
        self._listing.forget(pool_id)

    @_answering
    def show_queue(self, ctxt: RequestContext, pool_id: str) -> list[Payload]:
        """See ConductorApi."""
        return [wire.dump(entry) for entry in self._listing.show(pool_id)]

    def wake_queue(self, ctxt: RequestContext) -> None:
        """See ConductorApi."""
        self._notifier.notify_here()

    @_answering
    def defragment(
        self, ctxt: RequestContext, pool_id: str, dry_run: bool, limit: int | None
    ) -> list[Payload]:
        """See ConductorApi."""
        made = self._defragmenting.defragment(pool_id, dry_run, limit)
        return [wire.dump(move) for move in made]

    def echo(self, ctxt: RequestContext, token: str) -> None:
        """See ConductorApi."""
        self._dependencies.heard(token)


class ReportsManager:
    """Implements rpc.reports.ReportsApi, all that an agent's account of the message service reaches."""

    target = oslo_messaging.Target(version=rpc_reports.VERSION)

    def __init__(self, transactions: Transactions, keys: ConductorKeys, reports: SignedReports) -> None:
        self._transactions, self._keys, self._reports = transactions, keys, reports

    @_quiet
    def introduce(self, ctxt: RequestContext, message: Payload) -> Payload:
        """See ReportsApi."""
        introduced = wire.load(Envelope, message)
        return wire.dump(admission.introduce(self._transactions, self._keys, introduced))

    @_quiet
    def report(self, ctxt: RequestContext, message: Payload) -> Payload:
        """See ReportsApi."""
        return wire.dump(self._reports.take(wire.load(Envelope, message)))
