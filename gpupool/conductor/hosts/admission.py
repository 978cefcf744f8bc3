"""Which keys of hosts are believed: introductions by agents, and what the operator decides.

A host is a row of ``hosts`` from its first introduction on, ``pending`` until a key of it is admitted.
Whoever can send messages can introduce keys, so those that wait are few; the newest are kept, for an
agent that waits introduces itself again.
"""

import json
import logging
import uuid
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from gpupool.conductor.claims import health, validation
from gpupool.conductor.signing_keys import ConductorKeys
from gpupool.conductor.transaction import Transaction, Transactions
from gpupool.conf import logs
from gpupool.db import host_keys, host_traits, hosts
from gpupool.model import errors, wire
from gpupool.model import text as texts
from gpupool.model.envelope import Envelope, Introduction, Purpose, Welcome
from gpupool.model.host import NAME_ALLOWED, REVOKED, Host, is_name
from gpupool.model.host_key import HostKey, KeyState
from gpupool.model.states import HostState
from gpupool.rpc import keys

LOG = logging.getLogger(__name__)
PENDING_PER_HOST = 4
_BODY_MAX = 4096
_POOL_MAX = 255


@dataclass(frozen=True)
class _Found:
    """All keys of a host, and the host, whose row is held."""

    host: Host
    keys: list[HostKey]

    def of(self, state: KeyState) -> list[HostKey]:
        return [key for key in self.keys if key.state == state]

    def had_any(self) -> bool:
        """Return whether a key of this name has ever been admitted."""
        return any(key.state != KeyState.PENDING for key in self.keys)


def introduce(transactions: Transactions, signing: ConductorKeys, message: Envelope) -> Envelope:
    """Note the keys that ``message`` introduces; return a WELCOME that says what became of them."""
    introduction, key = _check(message)
    state = transactions.commit(_introduce, introduction, key)
    welcome = Welcome(state=state, conductor_keys=signing.public())
    return signing.sign(Purpose.WELCOME, message.host, message.sequence, json.dumps(wire.dump(welcome)))


def _check(message: Envelope) -> tuple[Introduction, HostKey]:
    """Return what is introduced; Invalid or Forbidden unless the owner of the keys says so."""
    if message.purpose is not Purpose.INTRODUCTION:
        raise errors.Invalid(f"purpose is {message.purpose}; allowed: {Purpose.INTRODUCTION}")
    if not is_name(message.host):
        raise errors.Invalid(f"host is '{texts.shown(message.host)}'; allowed: {NAME_ALLOWED}")
    check_sequence(message.sequence)
    introduction = wire.load(Introduction, parse_body(message.body, _BODY_MAX))
    if len(introduction.pool) > _POOL_MAX or not texts.is_visible(introduction.pool):
        given = texts.shown(introduction.pool)
        raise errors.Invalid(f"pool is '{given}'; allowed: a name of up to {_POOL_MAX} characters")
    signing, sealing = introduction.signing_key, introduction.sealing_key
    if keys.fingerprint(signing, sealing) != message.key:
        raise errors.Forbidden(f"{message.key} is not the fingerprint of the keys that it introduces")
    keys.verify(message, signing)
    return introduction, HostKey(
        id=message.key,
        host=message.host,
        state=KeyState.PENDING,
        signing_key=signing,
        sealing_key=sealing,
    )


def check_sequence(sequence: int) -> None:
    """Raise Invalid unless a message may have this sequence number."""
    if not 0 <= sequence < keys.SEQUENCE_MAX:
        raise errors.Invalid(f"sequence is {sequence}; allowed: 0 to {keys.SEQUENCE_MAX - 1}")


def parse_body(body: str, longest: int) -> dict[str, object]:
    """Return the JSON object of a message's body, or raise Invalid."""
    if len(body) > longest:
        raise errors.Invalid(f"body has {len(body)} characters; allowed: up to {longest}")
    try:
        content = json.loads(body)
    # RecursionError: of brackets alone.
    except (ValueError, RecursionError) as exc:
        raise errors.Invalid("body is no JSON") from exc
    if not isinstance(content, dict):
        raise errors.Invalid("body is no JSON object")
    return content


def _introduce(transaction: Transaction, introduction: Introduction, key: HostKey) -> KeyState:
    session = transaction.session
    found = _find(transaction, key.host, introduction.pool)
    known = {each.id: each for each in host_keys.list_(session, {"id": key.id})}.get(key.id)
    if known is not None:
        if known.host != key.host:
            raise errors.Forbidden(f"key {key.id} is host {known.host}'s")
        if known.state == KeyState.REVOKED:
            raise errors.Forbidden(f"key {key.id} of host {key.host} is revoked")
        return known.state
    if introduction.succession is not None and (old := _succeeds(found, introduction.succession, key)):
        host_keys.delete_all(session, [old])
        return _believe(transaction, found.host, key, f"in the place of {old.id}")
    automatic = transaction.conf.conductor.admit_hosts == "automatic"
    if automatic and not found.had_any():
        return _believe(transaction, found.host, key, "by [conductor] admit_hosts")
    host_keys.create(session, key)
    LOG.warning(
        "host %s introduces itself by key %s; to admit it: openstack gpu host admit %s --fingerprint %s",
        *(key.host, key.id, key.host, key.id),
        extra=logs.alike("introduction"),
    )
    _trim(session, found, transaction.conf.conductor.max_pending_keys)
    return KeyState.PENDING


def _find(transaction: Transaction, name: str, pool: str) -> _Found:
    """Return the host, made if there is none, and its keys."""
    session = transaction.session
    host = hosts.hold(session, name)
    if host is None:
        host = hosts.create(
            session,
            Host(
                id=str(uuid.uuid4()),
                name=name,
                pool_id=validation.find_pool(session, pool).id,
                state=HostState.PENDING,
                incarnation=str(uuid.uuid4()),
            ),
        )
    return _Found(host, host_keys.list_(session, {"host": name}))


def _succeeds(found: _Found, succession: Envelope, key: HostKey) -> HostKey | None:
    """Return the admitted key that says that ``key`` takes its place; None when it is none any more."""
    old = next((each for each in found.of(KeyState.ADMITTED) if each.id == succession.key), None)
    if old is None:
        return None
    keys.verify(succession, old.signing_key)
    said = (succession.purpose, succession.host, succession.body)
    if said != (Purpose.SUCCESSION, key.host, key.id):
        raise errors.Forbidden(f"key {old.id} of host {key.host} says nothing of {key.id}")
    return old


def _believe(transaction: Transaction, host: Host, key: HostKey, why: str) -> KeyState:
    """Store ``key`` as the one of its host that counts."""
    host_keys.create(transaction.session, replace(key, state=KeyState.ADMITTED))
    _join(transaction, host, key.id, why)
    return KeyState.ADMITTED


def _join(transaction: Transaction, host: Host, name: str, why: str) -> None:
    LOG.info("host %s is admitted by key %s, %s", host.name, name, why)
    if host.unable_reason == REVOKED:
        hosts.revise(transaction.session, host.id, unable_reason="")
    if host.state == HostState.PENDING:
        # Until it reports.
        hosts.update(transaction.session, host.id, state=HostState.DOWN)


def _trim(session: Session, found: _Found, kept: int) -> None:
    """Delete the oldest keys that wait where there are too many, and hosts that are nothing else."""
    # Not counting the one that came just now.
    waiting = sorted(found.of(KeyState.PENDING), key=lambda key: (key.created_at, key.id))
    host_keys.delete_all(session, waiting[: max(len(waiting) + 1 - PENDING_PER_HOST, 0)])
    forgotten = host_keys.oldest_pending(session, kept)
    host_keys.delete_all(session, forgotten)
    names = {key.host for key in forgotten} - {found.host.name}
    if not names:
        return
    left = {key.host for key in host_keys.list_(session, {"host": list(names)})}
    for host in hosts.list_(session, {"name": list(names - left), "state": HostState.PENDING}):
        hosts.delete(session, host.id)


def admit(transaction: Transaction, host_id: str, fingerprint: str) -> Host:
    """Return the host, whose key is that of ``fingerprint`` from now on; another's is revoked.

    Its next report may name another compute node, and its devices' custom traits are counted anew.
    Raises Conflict when no such key waits, or it is revoked.
    """
    session = transaction.session
    host = hosts.update(session, host_id)
    found = _Found(host, host_keys.list_(session, {"host": host.name}))
    key = next((each for each in found.keys if each.id == fingerprint), None)
    if key is None or key.state == KeyState.REVOKED:
        waiting = ", ".join(each.id for each in found.of(KeyState.PENDING)) or "none"
        what = "is revoked" if key else "is none that it introduced"
        raise errors.Conflict(f"key {fingerprint} of host {host.name} {what}; waiting are: {waiting}")
    for old in found.of(KeyState.ADMITTED):
        if old.id != key.id:
            host_keys.update(session, old.id, state=KeyState.REVOKED)
    host_keys.delete_all(session, (each for each in found.of(KeyState.PENDING) if each.id != key.id))
    if key.state == KeyState.PENDING:
        host_keys.update(session, key.id, state=KeyState.ADMITTED)
        _join(transaction, host, key.id, "by an operator")
    host_traits.forget(session, host_id)
    return hosts.update(session, host_id, compute_node=None)


def revoke(transaction: Transaction, host_id: str) -> Host:
    """Return the host, down: none of its keys is believed any more, and those never again.

    Raises Conflict when it has none, as nothing would keep its unsigned reports from being taken.
    """
    session = transaction.session
    host = hosts.update(session, host_id)
    known = host_keys.list_(session, {"host": host.name})
    if not known:
        raise errors.Conflict(
            f"host {host.name} has no key to revoke; set [conductor] require_signed_reports to true, "
            "so that nothing is believed of hosts without one"
        )
    for key in known:
        if key.state != KeyState.REVOKED:
            host_keys.update(session, key.id, state=KeyState.REVOKED)
            LOG.warning("key %s of host %s is revoked", key.id, host.name)
    if host.unable_reason != REVOKED:
        hosts.revise(session, host_id, unable_reason=REVOKED)
    if host.state != HostState.DOWN:
        hosts.revise(session, host_id, state=HostState.DOWN)
        health.write(transaction, host_id)
    return hosts.get(session, host_id)


def forget(session: Session, name: str) -> None:
    """Delete the keys of a host that is deleted, but for those that are revoked."""
    found = host_keys.list_(session, {"host": name})
    host_keys.delete_all(session, (key for key in found if key.state != KeyState.REVOKED))
