"""native/wire under the sanitizers, driven at random and compared with a model."""

import subprocess
from collections import deque

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

RING_BYTES = 1 << 20
HEADER = 16
LIMIT = 64 << 10
QUIET = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def probe(compile_probe):
    executable = compile_probe("wire_probe.c")

    def run(mode, lines):
        done = subprocess.run(
            [executable, mode],
            input="".join(f"{line}\n" for line in lines),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split("\n")[:-1]

    return run


PUT = st.tuples(
    st.just("put"), st.integers(HEADER, LIMIT) | st.integers(HEADER, 300), st.integers(0, 2**32 - 1)
)
RING = st.lists(PUT | PUT | st.tuples(st.just("take")) | st.tuples(st.just("release")), max_size=200)


@QUIET
@given(steps=RING)
def test_what_is_put_is_taken_whole_and_in_order(probe, steps):
    seen = iter(probe("ring", [" ".join(map(str, step)) for step in steps]))
    queue = deque()
    unreleased = 0
    for step in steps:
        if step[0] == "put":
            # A record that would wrap also spends what is left before the ring's end.
            fits = sum(map(_padded, queue)) + unreleased + _padded(step) + LIMIT <= RING_BYTES // 2
            answer = next(seen)
            assert answer in ("01" if not fits else "1")
            if answer == "1":
                queue.append(step)
        elif step[0] == "take":
            wanted = queue.popleft() if queue else None
            unreleased += _padded(wanted) if wanted else 0
            assert next(seen) == (f"{wanted[1]} {wanted[2]}" if wanted else "empty")
        else:
            unreleased = 0


def _padded(step):
    return -(-step[1] // 64) * 64


POKE = st.tuples(
    st.just("poke"),
    st.sampled_from([0, 64, 128, 192]) | st.integers(0, 2000).map(lambda n: 4096 + 64 * 4096 + 4 * n),
    st.integers(0, 2**32 - 1) | st.sampled_from([0, 1, 15, 16, 63, 64, 65, RING_BYTES, RING_BYTES + 64]),
)


@QUIET
@given(steps=st.lists(PUT | POKE | st.tuples(st.just("take")), max_size=60))
def test_a_hostile_producer_breaks_only_its_ring(probe, steps):
    """The sanitizers watch: no answer is wrong, but none may come from outside the ring."""
    answers = probe("ring", [" ".join(map(str, step)) for step in steps])
    assert len(answers) == sum(step[0] != "poke" for step in steps)


@pytest.mark.parametrize("sanitize", ["address,undefined", "thread"])
def test_a_stream_between_two_threads(compile_probe, sanitize):
    executable = compile_probe("wire_probe.c", sanitize)
    done = subprocess.run(
        [executable, "stream"], input="20000", capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "20000\n"), done.stderr


HANDLE_STEPS = st.lists(
    st.tuples(st.sampled_from(["new", "get", "drop"]), st.integers(0, 20), st.integers(1, 5)),
    max_size=120,
)


@QUIET
@given(steps=HANDLE_STEPS)
def test_handles_live_from_new_to_drop_and_never_again(probe, steps):
    lines, wanted, live, kinds = [], [], {}, []
    for step, _, kind in steps:
        if step == "new":
            lines.append(f"new {kind}")
            kinds.append(kind)
            wanted.append(None)
    # Numbers are known only from a first run, which must give the same ones in the second.
    numbers = probe("handles", lines)
    assert len(set(numbers)) == len(numbers)
    assert "0" not in numbers
    for which, number in enumerate(numbers):
        live[number] = kinds[which]
    for step, which, kind in steps:
        if step == "new" or not numbers:
            continue
        number = numbers[which % len(numbers)]
        lines.append(f"{step} {number} {kind}")
        wanted.append("1" if live.get(number) == kind else "0")
        if step == "drop" and live.get(number) == kind:
            del live[number]
    assert [a for a, b in zip(probe("handles", lines), wanted, strict=True) if b not in (None, a)] == []


NUMBER = st.integers(1, 12).map(lambda index: 1 << 24 | index)
STEPS = st.tuples(st.sampled_from(["set", "drop", "replace", "walk"]), NUMBER, *[st.integers(1, 5)] * 2)


@QUIET
@given(steps=st.lists(STEPS, max_size=120))
def test_a_walk_meets_what_is_live_as_what_it_was_replaced_by(probe, steps):
    lines, wanted, live = [], [], {}
    for step, number, kind, other in steps:
        if step == "set":
            lines.append(f"set {number} {kind}")
            wanted.append(str(int(number not in live)))
            live.setdefault(number, kind)
        elif step == "walk":
            lines.append("walk")
            wanted.append("".join(f"{one}:{live[one]} " for one in sorted(live)))
        else:
            lines.append(f"{step} {number} {kind}" + (f" {other}" if step == "replace" else ""))
            known = live.get(number) == kind
            wanted.append(str(int(known)))
            if known:
                del live[number]
            if known and step == "replace":
                live[number] = other
    assert probe("handles", lines) == wanted


def test_a_number_given_out_again_has_another_generation(probe):
    first, _, second, old, new = probe(
        "handles", ["new 2", "drop 16777217 2", "new 2", "get 16777217 2", "get 33554433 2"]
    )
    assert (first, second) == ("16777217", "33554433")
    assert (old, new) == ("0", "1")


@QUIET
@given(numbers=st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 2**25), max_size=50))
def test_a_hostile_client_chooses_any_number(probe, numbers):
    lines = [f"{step} {number} 2" for number in numbers for step in ("set", "get", "drop", "get")]
    answers = probe("handles", lines)
    for index, number in enumerate(numbers):
        fine = number < 2**40 and 0 < number % 2**24 < 2**16
        assert answers[4 * index : 4 * index + 4] == (["1", "1", "1", "0"] if fine else ["0"] * 4)


RANGE_STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "find", "remove"]), st.integers(0, 60), st.integers(0, 12)),
    max_size=150,
)


@QUIET
@given(steps=RANGE_STEPS)
def test_ranges_are_those_of_a_plain_list(probe, steps):
    model, wanted = {}, []
    for step, start, size in steps:
        if step == "add":
            clear = size and not any(start < s + b and s < start + size for s, b in model.items())
            wanted.append(str(int(bool(clear))))
            if clear:
                model[start] = size
        elif step == "find":
            found = [s for s, b in model.items() if s <= start < s + b and start + size <= s + b]
            wanted.append(str(found[0]) if found else "none")
        else:
            wanted.append(str(int(model.pop(start, 0) > 0)))
    lines = [f"{step} {start}" + (f" {size}" if step != "remove" else "") for step, start, size in steps]
    assert probe("ranges", lines) == wanted


def test_ranges_at_the_end_of_the_address_space(probe):
    top = 2**64 - 1
    steps = [f"add {top - 9} 10", f"add {top - 9} 11", f"find {top} 1", f"find {top} 2"]
    assert probe("ranges", steps) == ["0", "0", "none", "none"]
