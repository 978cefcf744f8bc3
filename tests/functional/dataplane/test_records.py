"""Records that are valid by the API table are served: table, generator and worker agree."""

import random

import pytest

from gpupool.dataplane.api.cuda.table import REFERENCE
from gpupool.dataplane.api.entry import Class
from tests.functional.dataplane.raw_client import MESSAGES, NUMBERS, RawClient
from tests.functional.dataplane.records import START, World, make, preparations

INVALID_VALUE, NOT_READY, NOT_SUPPORTED = 1, 600, 801
BY_NAME = {message.name: message for message in MESSAGES.values()}
THERE = {call.key for call in REFERENCE}


@pytest.fixture
def client(agent):
    with RawClient(agent()) as client:
        yield client


def world_of(client, kernels, seed):
    """Return a session's world before anything is made in it."""
    return World(kernels.read_bytes(), client.staging_bytes, client.heap_at, random.Random(seed))


def serve(client, world, name):
    """Serve a valid record of the message; return its result."""
    message = BY_NAME[name]
    for needed in preparations(message):
        assert serve(client, world, needed) == 0
    made = make(message, world)
    if made.staging:
        client.put_arena(*made.staging)
    if message.kind is Class.SYNCHRONOUS:
        result, reply = client.ask(name, made.content)
        if result == 0:
            world.learn(message, made.values, reply)
        return result
    client.send(NUMBERS[name], made.content)
    # An error comes out at the next that is answered; an image's part waits for its load.
    return 0 if name == "image_part" else client.ask("cuCtxSynchronize")[0]


@pytest.mark.seeds(4)
def test_valid_records_of_every_message_are_served(client, kernels, seed):
    world = world_of(client, kernels, seed)
    # The parts of an image are sent with its load.
    names = [name for name in BY_NAME if name != "image_part"] * 4
    world.pick.shuffle(names)
    for name in (*START, *names):
        allowed = {0} | ({NOT_READY} if name.endswith("Query") else set())
        if name.startswith("cu") and name not in THERE:
            allowed.add(NOT_SUPPORTED)
        assert serve(client, world, name) in allowed, name


@pytest.mark.parametrize("name", [name for name in BY_NAME if name not in {"image_part", "module_load"}])
def test_a_payload_of_another_length_is_refused(client, kernels, name):
    """Nothing of it is served, and the session goes on; those that a name follows take any length."""
    world = world_of(client, kernels, 0)
    for needed in (*START, *preparations(BY_NAME[name])):
        assert serve(client, world, needed) == 0
    content = make(BY_NAME[name], world).content
    expected = {0} if any(not bulk.length.terms for bulk in BY_NAME[name].bulk) else {INVALID_VALUE}
    if BY_NAME[name].kind is Class.SYNCHRONOUS:
        result, _ = client.ask(name, content + b"x")
        assert (result == INVALID_VALUE) == (expected != {0})
    else:
        client.send(NUMBERS[name], content + b"x")
        assert {client.ask("cuCtxSynchronize")[0]} == expected
    assert client.ask("cuCtxSynchronize")[0] == 0
