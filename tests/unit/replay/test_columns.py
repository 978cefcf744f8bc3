"""CSV files: what is read, and what is refused by file, line and column."""

import gzip
import os
from pathlib import Path

import pytest

from gpupool.model import errors
from gpupool.replay.columns import Columns, Row, read
from gpupool.replay.lines import BadLines

COLUMNS = Columns(needed=("a", "b"), optional=("gpu_spec",), unread=("qos",))


def row(**values: str) -> Row:
    return Row("a.csv line 7", values)


def test_values() -> None:
    assert row(a=" 12 ").integer("a") == 12
    assert row(a="1e3").number("a") == 1000.0
    assert row(a="V100|A10").text("a") == "V100|A10"
    assert row(a="nan").text("a") == row(a="").text("a") == row().text("a") == ""
    assert row(a="1970-01-02 00:00:01").time("a") == 86401
    assert row(a="1970-01-02T02:00:01+02:00").time("a") == 86401


@pytest.mark.parametrize("value", ["", "x", "1.5", "-1", "11"])
def test_integers_that_are_refused(value: str) -> None:
    with pytest.raises(
        errors.Invalid, match=rf"^a.csv line 7: a is '{value}'; allowed: a whole number from 0 to 10$"
    ):
        row(a=value).integer("a", most=10)


@pytest.mark.parametrize("value", ["", "x", "inf", "nan", "-0.5", "2147483648", "1e308"])
def test_numbers_that_are_refused(value: str) -> None:
    with pytest.raises(errors.Invalid, match=rf"a is '{value}'; allowed: a number from 0 to 2147483647"):
        row(a=value).number("a")


def test_other_values_that_are_refused() -> None:
    for time in ("yesterday", "9999-12-31 23:59:59-12:00", "0001-01-01 00:00:00+12:00"):
        with pytest.raises(errors.Invalid, match="allowed: a time such as"):
            row(a=time).time("a")
    with pytest.raises(errors.Invalid, match="a is '2147483648'; allowed: a whole number from 0 to"):
        row(a="2147483648").integer("a")
    with pytest.raises(errors.Invalid, match="a is ''; allowed: a name"):
        row(a="").name("a")
    with pytest.raises(errors.Invalid, match="a is None; allowed: a whole number from 3 to"):
        row().integer("a", least=3)


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "a.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_files(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeffb, a,c\r\n1,2,x\r\n\r\n3,4,y\r\n")
    rows = list(read(path, COLUMNS, BadLines()))
    assert [(each.integer("a"), each.integer("b"), each.where) for each in rows] == [
        (2, 1, f"{path} line 2"),
        (4, 3, f"{path} line 4"),
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "line 1: there is no column a, b; needed: a, b; found: nothing"),
        ("a,c\n1,2\n", "line 1: there is no column b; needed: a, b; found: a, c"),
        ("a,b\n", ": no line after the columns' names can be read"),
        ("a,b\n\n\n", ": no line after the columns' names can be read"),
        ("a,b\n1,2\n1\n", "line 3: 1 fields; allowed: 2, as in line 1"),
        (b"a,b\n1,2\n1,x\xff\n", "line 3: b: character 2 is no UTF-8"),
        ('a,b\n1,2\n"' + "x" * 200_000 + '",1\n', "line 3: field larger than field limit (131072)"),
        ("a,b,a\n1,2,3\n", "line 1: column 'a' comes twice; allowed: once"),
        ("a,b,gpu_spce\n1,2,3\n", "line 1: column 'gpu_spce' is not known; is gpu_spec meant?"),
        ("a,b,GPU Spec\n1,2,3\n", "line 1: column 'GPU Spec' is not known; is gpu_spec meant?"),
    ],
)
def test_files_that_are_refused(content: str | bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(errors.Invalid) as caught:
        list(read(write(tmp_path, content), COLUMNS, BadLines()))
    assert reason in str(caught.value)
    assert str(tmp_path / "a.csv") in str(caught.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(errors.Invalid, match=r"none.csv can't be read: No such file or directory"):
        list(read(tmp_path / "none.csv", COLUMNS, BadLines()))
    with pytest.raises(errors.Invalid, match="can't be read: Is a directory"):
        list(read(tmp_path, COLUMNS, BadLines()))


def test_other_columns_are_not_looked_at(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b,rack,qos\n1,2,3,LS\n")
    assert [each.text("gpu_spec") for each in read(path, COLUMNS, BadLines())] == [""]


@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_gzip_whatever_its_name(start: str, tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(f"{start}a,b\n1,2\n".encode()))
    assert [each.integer("b") for each in read(path, COLUMNS, BadLines())] == [2]


def test_gzip_that_is_cut_off(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(b"a,b\n" + os.urandom(5000).hex().encode() + b",2\n")[:-4000])
    with pytest.raises(errors.Invalid, match=r"a.csv can't be read: Compressed file ended before"):
        list(read(path, COLUMNS, BadLines(skip=True)))


def test_lines_that_are_left_out_are_counted(tmp_path: Path) -> None:
    """Of every kind of fault, and lines after them are read."""
    long = "x" * 200_000
    lines = ["a,b", "1,2", "1", f"{long},2", "\udcff,1", "x,2", "5,6", ""]
    path = write(tmp_path, "\n".join(lines).encode(errors="surrogateescape"))
    bad, found = BadLines(skip=True), []
    for each in read(path, COLUMNS, bad):
        with bad.skipped():
            found.append(each.integer("a"))
    assert (found, bad.count) == ([1, 5], 4)
    assert [reason.removeprefix(f"{path} line ") for reason in bad.reasons] == [
        "3: 1 fields; allowed: 2, as in line 1",
        "4: field larger than field limit (131072)",
        "5: a: character 1 is no UTF-8",
    ]


def test_a_file_of_bad_lines_only(tmp_path: Path) -> None:
    bad = BadLines(skip=True)
    with pytest.raises(errors.Invalid, match="no line after the columns' names can be read"):
        list(read(write(tmp_path, "a,b\n1\n"), COLUMNS, bad))
    assert bad.count == 1
