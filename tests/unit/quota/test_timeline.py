"""The timeline: time in which several sessions were busy is charged once."""

import subprocess

from .conftest import ENVIRONMENT, Compile


def test_it_agrees_with_a_byte_for_each_nanosecond(compile_test: Compile) -> None:
    subprocess.run([compile_test("timeline_test", "timeline.c")], check=True, env=ENVIRONMENT)
