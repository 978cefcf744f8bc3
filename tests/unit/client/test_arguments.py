"""What people write, and what goes to the API."""

import argparse

import pytest
from osc_lib.exceptions import CommandError

from gpupool.client import arguments


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("2030-01-31T12:00:00Z", "2030-01-31T12:00:00"),
        ("2030-01-31T12:00:00", "2030-01-31T12:00:00"),
        ("2030-01-31T12:00:00+02:00", "2030-01-31T10:00:00"),
    ],
)
def test_times_are_sent_in_utc(text: str, sent: str) -> None:
    assert arguments.time(text) == sent


@pytest.mark.parametrize(
    ("parse", "text", "why"),
    [
        (arguments.time, "tomorrow", "'tomorrow' is no time; write ISO 8601"),
        (arguments.positive, "0", "'0' is not a whole number of at least 1"),
        (arguments.positive, "-3", "'-3' is not a whole number of at least 1"),
        (arguments.positive, "1.5", "'1.5' is not a whole number of at least 1"),
        (arguments.seconds, "0", "'0' is not a number of seconds above 0"),
        (arguments.seconds, "nan", "'nan' is not a number of seconds above 0"),
        (arguments.seconds, "inf", "'inf' is not a number of seconds above 0"),
        (arguments.seconds, "soon", "'soon' is not a number of seconds above 0"),
        (arguments.cores, "half", "'half' is no number of cores; write 0 or more"),
        (arguments.cores, "-1", "'-1' is no number of cores"),
        (arguments.cores, "0.0005", "'0.0005' is no number of cores"),
        (arguments.cores, "NaN", "'NaN' is no number of cores"),
        (arguments.cores, "Infinity", "'Infinity' is no number of cores"),
        (arguments.sort_key, "name:up", "'up' is no direction; allowed: asc, desc"),
    ],
)
def test_what_is_no_value_is_named(parse, text: str, why: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        parse(text)
    assert str(caught.value).startswith(why)


@pytest.mark.parametrize(("text", "milli"), [("0.5", 500), ("2", 2000), ("0", 0), ("0.001", 1)])
def test_cores_are_sent_in_thousandths(text: str, milli: int) -> None:
    assert arguments.cores(text) == milli


def test_sort_keys_have_a_direction() -> None:
    assert arguments.sort_key("name") == "name:asc"
    assert arguments.sort_key("created_at:desc") == "created_at:desc"


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    arguments.add_paging(parser)
    arguments.add_projects(parser)
    arguments.add_sizes(parser, required=False)
    arguments.add_wishes(parser)
    return parser.parse_args(words)


def test_paging_goes_into_the_query() -> None:
    options = parsed("--sort", "name", "--sort", "state:desc", "--marker", "x", "--limit", "3")
    assert arguments.paging(options) == {"marker": "x", "sort": "name:asc,state:desc"}
    assert options.limit == 3
    assert arguments.paging(parsed()) == {"marker": None, "sort": None}


def test_one_project_or_all(capsys: pytest.CaptureFixture[str]) -> None:
    one = parsed("--project", "p", "--project-domain", "d")
    assert (one.project, one.project_domain, one.all_projects) == ("p", "d", False)
    assert parsed("--all-projects").all_projects
    with pytest.raises(SystemExit):
        parsed("--project", "p", "--all-projects")
    assert "not allowed with argument" in capsys.readouterr().err


def test_only_given_sizes_are_sent() -> None:
    """What is out of range is sent, too: the API says what is allowed."""
    options = parsed(
        "--compute", "0", "--memory-mib", "-5", "--required-trait", "A", "--required-trait", "B"
    )
    sent = arguments.given(options, *arguments.SIZES)
    assert sent == {"compute": 0, "memory_mib": -5, "required_traits": ["A", "B"]}


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        ("--count 4", {"count": 4}),
        ("--count -4", {"count": -4}),
        ("--count 2-8", {"min_count": 2, "max_count": 8}),
        ("--count 1-5000", {"min_count": 1, "max_count": 5000}),
        ("--count 4-4", {"min_count": 4, "max_count": 4}),
        ("--count 2-8 --count 3", {"count": 3}),
        ("--count 3 --count 2-8", {"min_count": 2, "max_count": 8}),
    ],
)
def test_a_number_of_vgpus_or_a_range(words: str, sent: dict[str, object]) -> None:
    options = [f"--count={word}" for word in words.replace("--count", "").split()]
    assert arguments.given(parsed(*options), *arguments.SIZES) == sent


_NO_NUMBER = "is no number of vGPUs; write one, as 4, or a range of two, as 2-8"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        *[
            (text, _NO_NUMBER)
            for text in ("two", "2-", "a-b", "2-x", "2--8", "", "1-2-3", "1_0", " 4", "٣")
        ],
        ("8-2", "ends below where it begins; write the smaller number first: 2-8"),
        ("2-0", "ends with 0; a range ends with no less than it begins with"),
        ("0-2", "begins with 0; a range begins with 1 or more"),
        ("0-0", "begins with 0; a range begins with 1 or more"),
    ],
)
def test_what_is_no_number_of_vgpus(text: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed(f"--count={text}")
    assert f"--count: {text!r} {why}" in capsys.readouterr().err


def test_a_change_of_nothing_is_refused() -> None:
    with pytest.raises(CommandError, match="nothing to change; give one of --count, --memory-mib"):
        arguments.changes(parsed(), "count", "memory_mib")


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        ("", {}),
        ("--best-effort --preemptible", {"qos": "best_effort", "preemptible": True}),
        ("--guaranteed --no-preemptible", {"qos": "guaranteed", "preemptible": False}),
        ("--sessions 40", {"sessions": 40}),
        ("--time-limit 60 --on-preempt release", {"time_limit": 60, "on_preempt": "release"}),
        ("--on-device-lost fail", {"on_device_lost": "fail"}),
        ("--cpu 0.5 --host-memory-mib 100", {"cpu_milli": 500, "host_memory_mib": 100}),
        ("--pack --same-host", {"layout": "pack", "same_host": True}),
        ("--spread --no-linked --same-type", {"layout": "spread", "linked": False, "same_type": True}),
        (
            "--sharing-mode mig --partition 1g.10gb",
            {"sharing_mode": "mig", "partition": "1g.10gb"},
        ),
    ],
)
def test_wishes_are_sent_where_they_are_given(words: str, sent: dict[str, object]) -> None:
    assert arguments.given(parsed(*words.split()), *arguments.WISHES) == sent


@pytest.mark.parametrize("words", ["--pack --spread", "--best-effort --guaranteed"])
def test_one_of_two_wishes(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed(*words.split())
    assert "not allowed with" in capsys.readouterr().err
