"""Reports to conductors, signed, and their answers, which are believed when a conductor signed them."""

import json
import logging
from typing import Protocol

from oslo_config import cfg
from oslo_context.context import RequestContext

from gpupool.agent.identity import Identity
from gpupool.agent.limited_log import LimitedLog
from gpupool.model import errors, wire
from gpupool.model import text as texts
from gpupool.model.envelope import Envelope, Instructions, Introduction, Purpose, Welcome
from gpupool.model.host_key import KeyState
from gpupool.model.report import DesiredState, HostReport
from gpupool.model.wire import Payload
from gpupool.rpc import keys

LOG = logging.getLogger(__name__)
# Characters of the reason for which a message is not believed.
_SHOWN = 300


class Reports(Protocol):
    """What this needs of rpc.reports.ReportsClient."""

    def introduce(self, ctxt: RequestContext, message: Envelope) -> Envelope:
        """Take an INTRODUCTION, return a WELCOME."""

    def report(self, ctxt: RequestContext, message: Envelope) -> Envelope:
        """Take a REPORT, return a DESIRED or a STALE."""


class Uplink:
    """An agent.manager.Conductor: one thread reports, others may ``open`` what they are told."""

    def __init__(self, conf: cfg.ConfigOpts, identity: Identity, conductor: Reports) -> None:
        """Raise Invalid when ``[agent] conductor_keys`` names none, or the host's keys are damaged."""
        self._host: str = conf.agent.host
        self._pool: str = conf.agent.pool
        self._pinned = bool(conf.agent.conductor_keys)
        for key in conf.agent.conductor_keys:
            _check_pin(key)
        self._identity = identity
        self._conductor = conductor
        self._limited = LimitedLog()
        self._trusted = tuple(conf.agent.conductor_keys) or identity.trusted()
        self._keys = identity.keys()
        # The last answer as it came and as it was read: most say the same again.
        self._last: tuple[str, Instructions] | None = None
        LOG.info("host %s has the keys %s", self._host, self._keys.fingerprint)

    @property
    def answered(self) -> bool:
        """Whether a conductor has admitted these keys since the agent started."""
        return self._last is not None

    def report_host(self, ctxt: RequestContext, report: HostReport) -> DesiredState:
        """Return what the host should have. Raises Unavailable, saying why, when nobody tells."""
        body = json.dumps(wire.dump(report), sort_keys=True)
        try:
            if not self._trusted:
                self._introduce(ctxt, self._keys)
            self._take_next(ctxt)
            try:
                return self._report(ctxt, body)
            except errors.NotFound:
                # Refusals are not signed; a needless introduction does no harm.
                self._introduce(ctxt, self._keys)
                return self._report(ctxt, body)
        except (errors.Forbidden, errors.NotFound) as exc:
            raise errors.Unavailable(exc.message) from exc

    def read(self, message: Payload) -> DesiredState | None:
        """Return what a message that came unasked tells; None as ``open``, or when it is no message."""
        try:
            return self.open(wire.load(Envelope, message))
        except errors.Invalid as exc:
            self._disbelieve(exc)
            return None

    def open(self, message: Envelope) -> DesiredState | None:
        """Return what a LOOK tells; None when no conductor that is trusted told this host."""
        if message.purpose is not Purpose.LOOK or message.host != self._host:
            return None
        try:
            self._check_signed(message)
            desired = self._unsealed(message.body).desired
        except errors.GpupoolError as exc:
            self._disbelieve(exc)
            return None
        return desired if (desired.host, desired.generation) == (self._host, message.sequence) else None

    def _disbelieve(self, why: errors.GpupoolError) -> None:
        """Log it, now and then: anyone with an account of the message service may send anything."""
        shown = texts.shown(why.message, _SHOWN)
        self._limited.say(LOG, logging.WARNING, "messages", "a message is not believed: %s", shown)

    def _report(self, ctxt: RequestContext, body: str) -> DesiredState:
        answer = self._ask(ctxt, body)
        if answer.purpose is Purpose.STALE:
            LOG.warning("a conductor has seen later reports of this host; counting on from theirs")
            self._identity.skip_to(int(answer.body))
            answer = self._ask(ctxt, body)
        if answer.purpose is not Purpose.DESIRED:
            raise errors.Unavailable(f"a conductor answers a report by {answer.purpose}")
        if self._last is None or self._last[0] != answer.body:
            self._last = answer.body, self._unsealed(answer.body)
        instructions = self._last[1]
        if instructions.desired.host != self._host:
            raise errors.Unavailable(f"a conductor answers for host {instructions.desired.host}")
        self._trust(instructions.conductor_keys)
        return instructions.desired

    def _ask(self, ctxt: RequestContext, body: str) -> Envelope:
        """Return the signed answer to a report."""
        sequence = self._identity.next_sequence()
        signed = self._keys.signer.sign(Purpose.REPORT, self._host, sequence, body)
        answer = self._conductor.report(ctxt, signed)
        self._check_answer(answer, signed)
        self._check_signed(answer)
        return answer

    def _introduce(
        self, ctxt: RequestContext, own: keys.HostKeys, succession: Envelope | None = None
    ) -> KeyState:
        """Show a conductor public keys; return what became of them."""
        signing, sealing = own.public
        introduction = Introduction(
            signing_key=signing, sealing_key=sealing, pool=self._pool, succession=succession
        )
        sequence = self._identity.next_sequence()
        body = json.dumps(wire.dump(introduction))
        signed = own.signer.sign(Purpose.INTRODUCTION, self._host, sequence, body)
        answer = self._conductor.introduce(ctxt, signed)
        self._check_answer(answer, signed)
        if answer.purpose is not Purpose.WELCOME:
            raise errors.Unavailable(f"a conductor answers an introduction by {answer.purpose}")
        if not self._trusted:
            keys.verify(answer, answer.key)
        else:
            self._check_signed(answer)
        welcome = wire.load(Welcome, json.loads(answer.body))
        if answer.key not in welcome.conductor_keys:
            raise errors.Unavailable(f"a conductor does not sign with its own key: {answer.key}")
        if not self._trusted:
            LOG.warning("trusting the first conductor key that was met: %s", answer.key)
        self._trust(welcome.conductor_keys)
        return welcome.state

    def _take_next(self, ctxt: RequestContext) -> None:
        """Replace the present keys by those that a rotation made."""
        following = self._identity.next_keys()
        if following is None:
            return
        sequence = self._identity.next_sequence()
        name = following.fingerprint
        succession = self._keys.signer.sign(Purpose.SUCCESSION, self._host, sequence, name)
        if self._introduce(ctxt, following, succession) is KeyState.ADMITTED:
            self._keys = self._identity.advance()

    def _unsealed(self, body: str) -> Instructions:
        return wire.load(Instructions, json.loads(self._keys.open(body, self._host)))

    def _check_answer(self, answer: Envelope, asked: Envelope) -> None:
        """Raise Unavailable unless ``answer`` is that to ``asked``."""
        if (answer.host, answer.sequence) != (self._host, asked.sequence):
            raise errors.Unavailable(f"an answer to message {answer.sequence} of {answer.host} came")

    def _check_signed(self, message: Envelope) -> None:
        """Raise Unavailable unless a conductor that is trusted signed ``message``."""
        if message.key not in self._trusted:
            raise errors.Unavailable(
                f"an answer is signed by {message.key}, which is no conductor's key that this host "
                "trusts: see [agent] conductor_keys"
            )
        keys.verify(message, message.key)

    def _trust(self, conductor_keys: tuple[str, ...]) -> None:
        """Learn which keys conductors sign with now and next, unless the operator said which."""
        if self._pinned or conductor_keys == self._trusted or not conductor_keys:
            return
        LOG.info("conductors sign with: %s", ", ".join(conductor_keys))
        self._trusted = conductor_keys
        self._identity.trust(conductor_keys)


def _check_pin(key: str) -> None:
    try:
        keys.check_signing_key(key)
    except errors.Invalid as exc:
        raise errors.Invalid(
            f"[agent] conductor_keys has {key!r}; allowed: what `gpupool-manage key list` prints"
        ) from exc
