"""What every service's log looks like, whichever library writes a line."""

import io
import logging
import queue
import subprocess
import sys
import uuid

import oslo_messaging
import pytest
import sqlalchemy as sa
from oslo_log import formatters
from oslo_messaging._drivers import common

from gpupool import conf as gpupool_conf
from gpupool.conf import logs
from gpupool.model import errors
from gpupool.rpc import transport as rpc_transport
from gpupool.rpc.transport import ERRORS

TICKET = "Qm9_dGhlcmUtaXMtbm90aGluZy1oZXJlLXRvLXNlZQ"


@pytest.fixture
def written():
    """Return a stream, and the logger that writes to it as a service's does."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatters.ContextFormatter(config=gpupool_conf.new(files=[])))
    logs.keep_rules([handler])
    logger = logging.getLogger("gpupool.test_logs")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield stream, logger
    logger.removeHandler(handler)


def raised(make):
    try:
        make()
    except Exception as exc:
        return exc
    raise AssertionError


def from_afar(error):
    """Return an error as the far side of a call sees it, with the near side's traceback."""
    try:
        raise error
    except Exception as exc:
        plain = common.serialize_remote_exception((type(exc), exc, exc.__traceback__))
    return common.deserialize_remote_exception(plain, ERRORS)


def no_such_table():
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT :ticket FROM nothing"), {"ticket": TICKET})


FAULTS = [
    errors.Unavailable("the database can't be reached"),
    from_afar(errors.Invalid("no such pool")),
    oslo_messaging.MessagingTimeout("no reply"),
    OSError(28, "No space left on device"),
    raised(no_such_table),
]


@pytest.mark.parametrize("error", FAULTS, ids=lambda each: type(each).__name__)
def test_a_fault_is_one_line(written, error):
    stream, logger = written
    try:
        raise error
    except Exception as exc:
        logger.exception("converging failed")
        logger.warning("again: %s", exc)
    lines = stream.getvalue().splitlines()
    # That a service is away is not said again.
    assert len(lines) == (1 if isinstance(error, errors.Unavailable) else 2)
    assert type(error).__name__.removesuffix("_Remote") in lines[0]
    assert "converging failed: " in lines[0]
    assert TICKET not in stream.getvalue()


def test_a_bug_has_its_traceback(written):
    stream, logger = written
    try:
        raise KeyError("a bug")
    except KeyError:
        logger.exception("converging failed")
    assert "Traceback" in stream.getvalue()
    assert "raise KeyError" in stream.getvalue()


def test_a_bug_that_is_met_again_and_again_is_told_once(written):
    """Whoever can send a message that shows one can send a thousand a second."""
    stream, logger = written
    for number in range(100):
        try:
            raise KeyError(number)
        except KeyError:
            logger.exception("message %d failed", 1)
    try:
        raise KeyError("elsewhere")
    except KeyError:
        logger.exception("message %d failed", 1)
    assert stream.getvalue().count("Traceback") == 2


def test_what_others_cause_in_ever_other_words_is_told_once(written):
    stream, logger = written
    for number in range(100):
        logger.warning("host %d introduces itself", number, extra=logs.alike("introduction"))
    logger.warning("host %d lies", 1, extra=logs.alike("lie", "host 1"))
    logger.warning("host %d lies", 2, extra=logs.alike("lie", "host 2"))
    assert len(stream.getvalue().splitlines()) == 3


@pytest.fixture
def served(written):
    """Return a function that has a served endpoint take a message as it is; its log is ``written``."""
    stream, logger = written
    handler = next(each for each in logger.handlers if getattr(each, "stream", None) is stream)
    conf = gpupool_conf.new(files=[])
    oslo_messaging.set_transport_defaults(f"test-{uuid.uuid4()}")
    rpc_transport.get_transport(conf).conf.set_override("transport_url", "fake://")
    transport = rpc_transport.get_transport(conf)
    target = oslo_messaging.Target(topic="test", server="here")
    server = rpc_transport.get_server(transport, target, [Endpoint()])
    exchange = transport._driver._exchange_manager.get_exchange(None)
    answers = queue.Queue()

    def take(message):
        exchange.deliver_message("test", {}, message, reply_q=answers)
        answers.get(timeout=60)

    logging.getLogger("oslo_messaging").addHandler(handler)
    server.start()
    yield take
    logging.getLogger("oslo_messaging").removeHandler(handler)
    server.stop()
    server.wait()


class Endpoint:
    """What an agent or a conductor serves, in little."""

    target = oslo_messaging.Target(version="1.0")

    def known(self, ctxt, number):
        """Do nothing."""


@pytest.mark.parametrize(
    "make",
    [
        lambda number: {"method": f"unknown_{number}"},
        lambda number: {"method": "known", "version": f"{number + 2}.0"},
        lambda number: {"method": "known", "args": {f"unknown_{number}": 1}},
        lambda number: {"method": "known", "args": number},
    ],
    ids=["method", "version", "argument", "no arguments"],
)
def test_messages_that_nobody_can_take_are_told_once(written, served, make):
    """oslo.messaging logs each as an error, and any account of the message service can send them."""
    stream, _ = written
    for number in range(20):
        served(make(number))
    told = [line for line in stream.getvalue().splitlines() if "Exception during" in line]
    assert len(told) == 1


def test_a_line_has_an_end(written):
    stream, logger = written
    logger.warning("key %s is unknown", "x" * 10**6)
    assert len(stream.getvalue()) < 10_000


@pytest.mark.parametrize("hidden", ["\r", "\x1b[2K", "\x85", "\u2028", "\u202e", "\x00"])
def test_nobody_writes_a_line_that_is_not_there(written, hidden):
    stream, logger = written
    logger.warning("key %s is unknown", f"x{hidden}2030-01-01 CRITICAL forged")
    assert hidden not in stream.getvalue()
    assert "forged" in stream.getvalue()
    assert len(stream.getvalue().splitlines()) == 1


@pytest.mark.parametrize(
    "secret",
    [
        f"mysql://gpupool:{TICKET}@db/gpupool",
        f"amqp://gpupool:p@ss{TICKET}@mq:5672/",
        f"{{'ticket': '{TICKET}'}}",
        f"GPUPOOL_TICKET={TICKET}",
        f'"GPUPOOL_TICKET": "{TICKET}"',
    ],
)
def test_nothing_secret_is_written(written, secret):
    stream, logger = written
    logger.info("it is %s", secret)
    try:
        raise KeyError(secret)
    except KeyError:
        logger.exception("a bug")
    assert TICKET not in stream.getvalue()
    assert "***" in stream.getvalue()


def test_what_is_said_again_is_counted(written, monkeypatch):
    stream, logger = written
    for number in range(100):
        logger.warning("Placement can't be reached: <connection at 0x%x>", number)
        logger.info("claim 1 is bound")
    lines = stream.getvalue().splitlines()
    assert sum("Placement" in line for line in lines) == 1
    assert sum("bound" in line for line in lines) == 100
    monkeypatch.setattr(logs, "REPEAT_SECONDS", 0.0)
    logger.warning("Placement can't be reached: <connection at 0x0>")
    assert "(99 times more in 0 s)" in stream.getvalue()


def test_whoever_meets_that_a_service_is_away_says_it_once(written):
    stream, logger = written
    away = errors.Unavailable("the database can't be reached")
    for what in ("the queue waits", "reports wait", "leases wait"):
        try:
            raise away
        except errors.Unavailable as exc:
            logger.warning("%s: %s", what, exc)
            logger.exception("%s", what)
    assert stream.getvalue().count("the database can't be reached") == 1


def test_a_library_that_tries_again_and_again_is_heard_once(written):
    stream, _ = written
    library = logging.getLogger("oslo.messaging.test_logs")
    library.handlers = written[1].handlers
    for seconds in range(100):
        library.error("[%s] AMQP server is unreachable. Trying again in %d s", seconds, seconds)
    assert len(stream.getvalue().splitlines()) == 1


def test_different_warnings_are_all_written(written):
    stream, logger = written
    for number in range(3 * logs.MOST):
        logger.warning("host %d is down", number)
    assert len(stream.getvalue().splitlines()) == 3 * logs.MOST


PROGRAM = """
from oslo_utils import excutils
from gpupool import conf
from gpupool.conf import logs
logs.setup(conf.new(files=[]), "test")
try:
    try:
        raise ValueError("first")
    except ValueError:
        with excutils.save_and_reraise_exception():
            raise KeyError("second")
except KeyError as exc:
    print(exc)
"""


def test_an_error_that_gives_way_to_another_is_not_told():
    """As in a transaction when the database goes away: the other one is met and told."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("'second'\n", "")


def test_lines_that_a_full_disk_does_not_take_are_counted(written, monkeypatch, capsys):
    stream, logger = written
    handler = next(each for each in logger.handlers if getattr(each, "stream", None) is stream)
    with open("/dev/full", "wb", buffering=0) as file:
        full = io.TextIOWrapper(file, write_through=True)
        handler.setStream(full)
        for number in range(3):
            logger.info("claim %s is bound", number)
        assert capsys.readouterr().err == ""
        later = logs.time.monotonic() + logs.REPEAT_SECONDS
        monkeypatch.setattr(logs.time, "monotonic", lambda: later)
        logger.info("claim 3 is bound")
        told = capsys.readouterr().err
        handler.stream = stream
    assert told == "4 lines of the log can't be written: [Errno 28] No space left on device\n"
