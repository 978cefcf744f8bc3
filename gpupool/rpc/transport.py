"""The oslo.messaging transport, serializer, clients and servers that both interfaces share."""

import importlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import oslo_messaging
from amqp.exceptions import AccessRefused, AMQPError, NotAllowed
from kombu.exceptions import KombuError
from oslo_config import cfg
from oslo_context.context import RequestContext

from gpupool.model import errors
from gpupool.rpc import context

# Nobody listens to it.
PROBE_TOPIC = "gpupool-probe"
# Errors of these modules are rebuilt on the caller's side as what they are.
ERRORS = ["gpupool.model.errors", "gpupool.placement.errors"]
# Options by group that oslo.messaging (18.3) registers on its global configuration only, though it
# reads them from the one it is given; and where they are. Other releases may have no such thing.
_UNREGISTERED = {
    "oslo_messaging_metrics": "oslo_messaging._metrics.client",
    "oslo_messaging_tracing": "oslo_messaging._tracing.client",
}
# Attempts to send after the first, one and three seconds later. The library's own default is to go on
# for ever, and so to hold the thread that sends for as long as the broker is away.
RETRIES = 2
# Where oslo.messaging's options of RabbitMQ have other defaults, which operators may change.
_RABBIT = {
    # Seconds between two attempts to connect again, at most. With the library's own 30 nobody would be
    # heard for so much longer than the outage itself.
    "rabbit_interval_max": 4,
    # Messages that a service holds which it has not taken up. Without a limit one whose connection hangs
    # gets half of all reports until the broker notices, which takes it twice these seconds.
    "rabbit_qos_prefetch_count": 64,
    "heartbeat_timeout_threshold": 20,
}
# Of calls: one that no server's queue takes, as after a restart of the broker, is refused at once. Else
# its caller would wait for an answer until its timeout.
TAKEN = oslo_messaging.TransportOptions(at_least_once=True)
# Of opening a connection oslo.messaging translates no error: its libraries' come through.
_UNREACHABLE = (
    oslo_messaging.MessageDeliveryFailure,
    oslo_messaging.ClientSendError,
    KombuError,
    AMQPError,
    OSError,
)
# What a server answers to a method of a later version of its interface.
_UNKNOWN = (oslo_messaging.UnsupportedVersion, oslo_messaging.NoSuchMethod)

# What a broker answers that is there, and that trying again does not change.
_REFUSALS = (AccessRefused, NotAllowed)


class ContextSerializer(oslo_messaging.NoOpSerializer):
    """Carries the request context beside the payload, which already is plain JSON types."""

    def serialize_context(self, ctxt: RequestContext) -> dict[str, Any]:
        """Return ``ctxt`` as JSON types."""
        plain: dict[str, Any] = ctxt.to_dict()
        return plain

    def deserialize_context(self, ctxt: dict[str, Any]) -> RequestContext:
        """Return the context that ``ctxt`` describes."""
        return RequestContext.from_dict(ctxt)


def get_transport(conf: cfg.ConfigOpts) -> oslo_messaging.Transport:
    """Return the transport of ``[DEFAULT] transport_url``; Invalid when there is none of that kind."""
    _register(conf)
    try:
        transport = oslo_messaging.get_rpc_transport(conf, allowed_remote_exmods=ERRORS)
    except oslo_messaging.InvalidTransportURL as exc:
        # Not what it says: that has the URL in it, and with it a password.
        raise errors.Invalid("[DEFAULT] transport_url is no URL of a transport") from exc
    except oslo_messaging.DriverLoadFailure as exc:
        raise errors.Invalid(f"[DEFAULT] transport_url: {exc}") from exc
    if "oslo_messaging_rabbit" in conf:
        for name, value in _RABBIT.items():
            conf.set_default(name, value, group="oslo_messaging_rabbit")
    return transport


def within_process(conf: cfg.ConfigOpts) -> bool:
    """Return whether messages stay within the process that sends them, as those of standalone do."""
    try:
        return bool(oslo_messaging.TransportURL.parse(conf).transport == "fake")
    except oslo_messaging.InvalidTransportURL:
        return False


def _register(conf: cfg.ConfigOpts) -> None:
    for group, module in _UNREGISTERED.items():
        try:
            options = getattr(importlib.import_module(module), group)
        except (ImportError, AttributeError):
            continue
        conf.register_opts(options, group=group)


@contextmanager
def reaching() -> Iterator[None]:
    """Raise Unavailable for every error that says that broker or far side can't be reached.

    Other errors pass: those of the far side are raised by oslo.messaging as themselves.
    """
    try:
        yield
    except oslo_messaging.MessagingTimeout as exc:
        raise errors.Unavailable("no conductor answered in time; try again", "messages") from exc
    except oslo_messaging.MessageUndeliverable as exc:
        raise errors.Unavailable("no conductor takes requests now; try again", "messages") from exc
    except _UNREACHABLE as exc:
        # Not what it says: that may name hosts, and users read this.
        raise errors.Unavailable("the message service did not take the request", "messages") from exc


class ReplyQueue:
    """Opens the queue that answers to a transport's calls come by, without holding up the callers.

    oslo.messaging opens it at the first call, under a lock and for as long as it takes to reach the
    broker, whatever timeout the call has.
    """

    def __init__(self, transport: oslo_messaging.Transport) -> None:
        # Drivers without a broker have no such queue.
        self._open = getattr(getattr(transport, "_driver", None), "_get_reply_q", None)
        self._lock = threading.Lock()
        self._done: threading.Event | None = None
        self._opened = self._open is None

    def wait(self, seconds: float | None) -> None:
        """Return when the queue is open; raises Unavailable when it is not after ``seconds``."""
        if self._opened:
            return
        with self._lock:
            done = self._done
            if done is None:
                done = self._done = threading.Event()
                threading.Thread(target=self._try, args=(done,), name="reply queue", daemon=True).start()
        if not done.wait(seconds) or not self._opened:
            raise errors.Unavailable("the message service does not answer; try again", "messages")

    def _try(self, done: threading.Event) -> None:
        try:
            if self._open:
                self._open()
            self._opened = True
        except Exception:  # noqa: S110 - whoever waits is told, and the next call tries again
            pass
        finally:
            with self._lock:
                self._done = None
            done.set()


def agents_target(transport: oslo_messaging.Transport, topic: str, **more: str) -> oslo_messaging.Target:
    """Return a target on the exchange of agents' messages, beside that of the other services.

    An account that may use an exchange has to be allowed to declare it, and so may delete it.
    """
    exchange = f"{transport.conf.control_exchange}.agents"
    return oslo_messaging.Target(exchange=exchange, topic=topic, **more)


def get_client(
    transport: oslo_messaging.Transport, target: oslo_messaging.Target, timeout: float | None = None
) -> oslo_messaging.RPCClient:
    """Return a client of ``target``; calls time out after ``timeout`` seconds.

    What it raises when it can't reach the far side ``reaching`` translates.
    """
    return oslo_messaging.get_rpc_client(
        transport, target, serializer=ContextSerializer(), timeout=timeout, retry=RETRIES
    )


@contextmanager
def answering(method: str) -> Iterator[None]:
    """Raise errors of the far side of a call of ``method`` without its traceback, which its log has.

    Raises Unavailable when the far side is of a release without that method, and Failed for other
    errors that are none of ours: bugs there.
    """
    try:
        yield
    except errors.GpupoolError as exc:
        kind = next(each for each in type(exc).__mro__ if not each.__name__.endswith("_Remote"))
        if kind is type(exc):
            raise
        raise kind(exc.message) from None
    except _UNKNOWN as exc:
        raise _too_old(method) from exc
    except oslo_messaging.RemoteError as exc:
        if exc.exc_type in {each.__name__ for each in _UNKNOWN}:
            raise _too_old(method) from None
        raise errors.Failed(f"a conductor failed: {exc.exc_type}; its log says more") from None
    except Exception as exc:
        # Of Python's own errors oslo.messaging makes what looks like one of this side.
        if _is_near(exc) and "Traceback (most recent call last)" not in str(exc):
            raise
        raise errors.Failed(f"a conductor failed: {type(exc).__name__}; its log says more") from None


def _too_old(method: str) -> errors.Unavailable:
    return errors.Unavailable(
        f"a conductor of an older release answered, which has no {method}; upgrade every conductor"
    )


def _is_near(error: Exception) -> bool:
    """Return whether it may be this side that met the error, on its way to the broker."""
    library = type(error).__module__.partition(".")[0]
    return isinstance(error, OSError) or library in {"amqp", "kombu", "oslo_messaging"}


class _Server(oslo_messaging.rpc.server.RPCServer):
    """Forgets the context of each message when it is done, before its thread does something else."""

    def _process_incoming(self, incoming: Any) -> None:
        try:
            super()._process_incoming(incoming)
        finally:
            context.clear()


def get_server(
    transport: oslo_messaging.Transport, target: oslo_messaging.Target, endpoints: Sequence[object]
) -> oslo_messaging.MessageHandlingServer:
    """Return a server for ``target`` that calls ``endpoints`` in threads."""
    return oslo_messaging.get_rpc_server(
        transport,
        target,
        list(endpoints),
        executor="threading",
        serializer=ContextSerializer(),
        access_policy=oslo_messaging.DefaultRPCAccessPolicy,
        server_cls=_Server,
    )


def start(server: oslo_messaging.MessageHandlingServer) -> None:
    """Start a server; Invalid when the message service refuses the account or its virtual host.

    One that is not there is tried until it is. Other errors are those of the driver's libraries.
    """
    try:
        server.start()
    except _REFUSALS as exc:
        raise errors.Invalid(f"[DEFAULT] transport_url: the message service refuses: {exc}") from exc


def probe(conf: cfg.ConfigOpts) -> None:
    """Send a message that nobody takes; raises what the message service says to that.

    It is tried for ever while the service is not there: the caller has to bound it.
    """
    transport = get_transport(conf)
    try:
        client = get_client(transport, oslo_messaging.Target(topic=PROBE_TOPIC))
        client.prepare(fanout=True, retry=0).cast(RequestContext(), "probe")
    finally:
        transport.cleanup()
