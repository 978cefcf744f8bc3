"""Errors cross a real oslo.messaging transport (its in-memory one) as what they are."""

import inspect
import sys

import oslo_messaging
import pytest
from oslo_context.context import RequestContext
from oslo_messaging._drivers import common as driver

from gpupool import conf as gpupool_conf
from gpupool.model import errors
from gpupool.placement import errors as placement_errors
from gpupool.rpc import transport

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
TARGET = {"topic": "errors", "version": "1.0"}


class Stranger(Exception):
    """An error of a module that the transport does not rebuild."""


class Raiser:
    """An RPC endpoint that raises what it is told to."""

    target = oslo_messaging.Target(version="1.0")

    def fail(self, ctxt, kind, message):
        raise getattr(errors, kind)(message)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    file = tmp_path_factory.mktemp("messaging") / "gpupool.conf"
    file.write_text("[DEFAULT]\ntransport_url = fake://\n")
    messaging = transport.get_transport(gpupool_conf.new(files=[str(file)]))
    server = transport.get_server(messaging, oslo_messaging.Target(server="here", **TARGET), [Raiser()])
    server.start()
    yield transport.get_client(messaging, oslo_messaging.Target(**TARGET), timeout=30)
    server.stop()
    server.wait()
    messaging.cleanup()


def test_every_error_is_tried():
    assert {errors.Invalid, errors.NotFound, errors.Conflict, errors.Unavailable} <= set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("message", ["compute is 0; allowed: 1 to 100", "", "100 % übervoll\n"])
def test_an_error_arrives_as_itself(client, kind, message):
    with pytest.raises(errors.GpupoolError) as caught:
        client.call(RequestContext(), "fail", kind=kind.__name__, message=message)
    # oslo.messaging makes a subclass of the same name, with the remote traceback in its text.
    assert isinstance(caught.value, kind)
    assert kind.__name__ in type(caught.value).__name__
    assert caught.value.message == message
    assert caught.value.status == kind.status


def rebuilt(error):
    """Return ``error`` as the RabbitMQ driver of oslo.messaging sends and rebuilds it.

    The in-memory transport hands exceptions over as objects, so this calls what that driver calls.
    """
    try:
        raise error
    except Exception:
        sent = driver.serialize_remote_exception(sys.exc_info())
    return driver.deserialize_remote_exception(sent, transport.ERRORS)


@pytest.mark.parametrize(
    "kind", [*KINDS, placement_errors.NoCapacity, placement_errors.ConcurrentUpdate]
)
def test_an_error_survives_being_written_down(kind):
    received = rebuilt(kind("compute is 0; allowed: 1 to 100"))
    assert isinstance(received, kind)
    assert received.message == "compute is 0; allowed: 1 to 100"
    assert received.status == kind.status


def test_an_error_that_is_not_ours_is_none_of_ours():
    received = rebuilt(Stranger("not one of ours"))
    assert isinstance(received, oslo_messaging.RemoteError)
    assert received.exc_type == "Stranger"


def test_statuses_are_those_of_http():
    statuses = {kind.__name__: kind.status for kind in KINDS}
    assert statuses == {
        "GpupoolError": 500,
        "Invalid": 400,
        "Failed": 500,
        "Forbidden": 403,
        "OverQuota": 403,
        "NotFound": 404,
        "Conflict": 409,
        "Unavailable": 503,
    }
