"""CUDA_VISIBLE_DEVICES against a model in Python, built with the sanitizers."""

import re
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpupool.dataplane import build, c_flags
from tests.unit.dataplane.conftest import HERE

UUIDS = st.lists(st.uuids(), unique=True, max_size=5)
TEXTS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=80)
INDICES = st.integers(-2, 6).map(str) | st.sampled_from(["+1", "01", "1x", "", "-", "+", "9" * 30])


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    made = tmp_path_factory.mktemp("visible") / "probe"
    sources = [HERE / "visible_probe.c", build.NATIVE / "attachment" / "cuda" / "visible.c"]
    command = ["gcc", *c_flags.compile_flags("address,undefined"), "-fno-sanitize-recover=all"]
    subprocess.run([*command, f"-I{build.NATIVE}", *sources, "-o", made], check=True)
    return made


def shown(probe, uuids, values):
    """Return which devices each value shows."""
    done = subprocess.run(
        [probe, *(each.hex for each in uuids)],
        input=b"".join(each.encode() + b"\0" for each in values),
        capture_output=True,
        check=True,
    )
    return [[int(word) for word in line.split()] for line in done.stdout.decode().splitlines()]


def model(uuids, value):
    chosen = []
    for word in (each.strip(" ") for each in value.split(",")):
        if word.startswith("GPU-"):
            found = [n for n, each in enumerate(uuids) if f"gpu-{each}".startswith(word.lower())]
        else:
            digits = re.match(r"\+?([0-9]+)", word)
            found = [int(digits[1])] if digits and int(digits[1]) < len(uuids) else []
        if len(found) != 1:
            return chosen
        if found[0] in chosen:
            return []
        chosen += found
    return chosen


@st.composite
def lists(draw):
    """Draw devices, and values that name some of them in one way or another."""
    uuids = draw(UUIDS)
    names = INDICES
    if uuids:
        names |= st.builds(
            lambda each, end: f"GPU-{each}"[:end], st.sampled_from(uuids), st.integers(3, 42)
        )
    values = st.lists(names, max_size=6).map(",".join) | st.lists(names, max_size=6).map(" , ".join)
    return uuids, draw(st.lists(values | TEXTS, min_size=1, max_size=30))


@given(drawn=lists())
@settings(max_examples=60, deadline=None)
def test_what_is_shown_is_what_the_guide_says(probe, drawn):
    uuids, values = drawn
    assert shown(probe, uuids, values) == [model(uuids, value) for value in values]
