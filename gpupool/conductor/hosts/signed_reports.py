"""Reports as they come: signed by a host's admitted key, each once, and answered for that host alone.

A sequence number is written with every report that is taken and with every sign of life that is, in the
same transaction; a conductor remembers those that it answers from memory meanwhile. So what was taken
is never taken again. Of those that said what the one taken last said, and so changed nothing, a copy
may reach another conductor within a third of ``[conductor] host_timeout``: it changes nothing either.
"""

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from gpupool.conductor.hosts import admission, report_validation
from gpupool.conductor.hosts.report_cache import ReportCache, Said, Stale, unsigned
from gpupool.conductor.hosts.report_rates import ReportRates
from gpupool.conductor.hosts.reports import Reports
from gpupool.conductor.signing_keys import ConductorKeys
from gpupool.conductor.transaction import Transaction, Transactions
from gpupool.conf import logs
from gpupool.db import host_keys, hosts
from gpupool.model import errors, wire
from gpupool.model import text as texts
from gpupool.model.envelope import Envelope, Purpose
from gpupool.model.host import Host
from gpupool.model.host_key import HostKey, KeyState, is_fingerprint
from gpupool.model.report import DesiredState, HostReport
from gpupool.model.states import HostState
from gpupool.rpc import keys

LOG = logging.getLogger(__name__)
# What says that something is wrong with a report, and not around it.
_REFUSALS = (errors.Invalid, errors.Forbidden, errors.Conflict)
# Characters of a report: one of 1,600 vGPUs with as many sessions has a million.
_BODY_MAX = 16 * 2**20


@dataclass(frozen=True)
class _Sender:
    """A key and the host that it is of, as the database had them when a report came."""

    key: HostKey
    host: Host


class SignedReports:
    """Takes reports for one conductor; ``cache`` answers those without news."""

    def __init__(
        self,
        transactions: Transactions,
        keys: ConductorKeys,
        rates: ReportRates,
        cache: ReportCache,
        reports: Reports,
    ) -> None:
        self._transactions, self._keys = transactions, keys
        self._rates, self._cache, self._reports = rates, cache, reports

    def take(self, message: Envelope) -> Envelope:
        """Return the answer to a signed report: what its host should have, sealed to it.

        Or, for a sequence number that is not higher than the last, a STALE that says which was that.
        """
        sender = self._sender(message)
        # Not before: whoever has any account of the message service can name this host.
        self._rates.take(sender.host.name)
        said = Said(message.key, message.sequence, _digest(message.body))
        try:
            with self._cache.taking(sender.host.name), self._noting_refusal(sender.host):
                sealed = self._cache.answer(said, sender.key, sender.host)
                sealed = sealed or self._take(message.body, said, sender)
        except Stale:
            # Read again: another conductor may know a higher number, or the key be revoked, by now.
            last = self._cache.last(self._sender(message).key)
            return self._keys.sign(Purpose.STALE, message.host, message.sequence, str(last))
        return self._keys.sign(Purpose.DESIRED, message.host, message.sequence, sealed)

    def _sender(self, message: Envelope) -> _Sender:
        """Raise NotFound or Forbidden unless the admitted key of its host signed ``message``."""
        if message.purpose is not Purpose.REPORT:
            raise errors.Invalid(f"purpose is {message.purpose}; allowed: {Purpose.REPORT}")
        if not is_fingerprint(message.key):
            given = texts.shown(message.key)
            raise errors.Invalid(f"key is '{given}'; allowed: a fingerprint, SHA256: and 43 characters")
        admission.check_sequence(message.sequence)
        with self._transactions.reader() as session:
            key, host = host_keys.find(session, message.key) or (None, None)
        if key is None or host is None or key.host != message.host:
            raise errors.NotFound(f"key {message.key} of host {message.host} was not introduced")
        keys.verify(message, key.signing_key)
        if key.state == KeyState.REVOKED:
            raise errors.Forbidden(f"key {key.id} of host {host.name} is revoked")
        if key.state == KeyState.PENDING and not self.may_go_on(host):
            raise errors.Forbidden(
                f"host {host.name} waits to be admitted by key {key.id}: "
                f"openstack gpu host admit {host.name} --fingerprint {key.id}"
            )
        return _Sender(key, host)

    def may_go_on(self, host: Host) -> bool:
        """Return whether a host is believed without an admitted key, as all were once."""
        if self._transactions.conf.conductor.require_signed_reports or host.state == HostState.PENDING:
            return False
        with self._transactions.reader() as session:
            known = host_keys.list_(session, {"host": host.name})
        return all(key.state == KeyState.PENDING for key in known)

    @contextmanager
    def _noting_refusal(self, host: Host) -> Iterator[None]:
        """Write on a host why its report in the block is refused; the next one taken clears it."""
        try:
            yield
        except _REFUSALS as exc:
            why = report_validation.storable(exc.message)
            if why != host.report_error:
                subject = logs.alike("refused", host.name)
                LOG.warning("a report of host %s is refused: %s", host.name, why, extra=subject)
                with suppress(errors.NotFound):
                    self._transactions.commit(_write_refusal, host.id, why)
            raise

    def _take(self, body: str, said: Said, sender: _Sender) -> str:
        """Take a report that says something, or may; return the sealed answer."""
        content = admission.parse_body(body, _BODY_MAX)
        report_validation.check_sizes(content)
        report = wire.load(HostReport, content)
        if report.host != sender.host.name:
            raise errors.Forbidden(f"host {sender.host.name} reports as {report.host}")
        taken = self._reports.take(report, said)
        sealed = self._keys.seal(taken.desired, sender.key)
        if taken.settled:
            self._cache.keep(said, taken.host, sealed)
        return sealed

    def take_unsigned(self, report: HostReport) -> DesiredState:
        """Return what a host should have whose agent is of a version without keys; see ``may_go_on``."""
        with self._transactions.reader() as session:
            found = hosts.list_(session, {"name": report.host})
        if not found or not self.may_go_on(found[0]):
            raise errors.Forbidden(
                f"the report of host {report.host} is not signed: upgrade its agent, and see "
                "[conductor] require_signed_reports"
            )
        digest = _digest(json.dumps(wire.dump(report), sort_keys=True))
        if answer := self._cache.answer_unsigned(digest, found[0]):
            return wire.load(DesiredState, json.loads(answer))
        with self._noting_refusal(found[0]):
            taken = self._reports.take(report)
        if taken.settled:
            self._cache.keep(unsigned(digest), taken.host, json.dumps(wire.dump(taken.desired)))
        return taken.desired


def _write_refusal(transaction: Transaction, host_id: str, why: str) -> None:
    hosts.update(transaction.session, host_id, report_error=why)


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode(errors="surrogatepass")).hexdigest()
