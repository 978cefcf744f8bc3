"""Progress and what ends the waiting."""

import io

import pytest
from osc_lib.exceptions import CommandError

from gpupool.client import wait


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Claims:
    """Answers each look with the next state."""

    def __init__(self, *states: str) -> None:
        self.states = list(states)

    def get(self, collection: str, ident: str) -> dict[str, str]:
        assert collection in ("claims", "attachments")
        return item(self.states.pop(0) if len(self.states) > 1 else self.states[0], ident)


def item(state: str, ident: str = "c") -> dict[str, str]:
    return {"id": ident, "state": state, "state_reason": "why" if state in ("queued", "failed") else ""}


def test_a_line_per_change_without_a_terminal() -> None:
    stream = io.StringIO()
    with wait.Progress(stream) as progress:
        for text in ("a", "a", "b"):
            progress.show(text)
    assert stream.getvalue() == "a\nb\n"


def test_a_terminals_line_is_rewritten() -> None:
    stream = Terminal()
    with wait.Progress(stream) as progress:
        progress.show("long text")
        progress.show("b")
    assert stream.getvalue() == "\rlong text\x1b[K\rb\x1b[K\n"


def test_waiting_ends_with_the_state(capsys) -> None:
    claims = Claims("allocating", "binding", "bound")
    found = wait.for_claim(claims, item("queued"), "bound", {"queued", "allocating", "binding"}, None)
    assert found["state"] == "bound"
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "claim c is queued (why)",
        "claim c is allocating",
        "claim c is binding",
        "claim c is bound",
    ]


def test_waiting_ends_with_a_state_that_leads_nowhere() -> None:
    with pytest.raises(
        CommandError, match=r"claim c is failed \(why\); it cannot become bound any more"
    ):
        wait.for_claim(Claims("failed"), item("queued"), "bound", {"queued"}, None)


def test_waiting_ends_with_the_time() -> None:
    with pytest.raises(
        CommandError, match=r"claim c is queued \(why\), not bound after 0\.01 s; it stays"
    ):
        wait.for_claim(Claims("queued"), item("queued"), "bound", {"queued"}, 0.01)


def test_an_attachment_that_its_host_refuses() -> None:
    with pytest.raises(CommandError, match="attachment c is failed: why"):
        wait.for_attachment(Claims("failed"), item("pending"), 5)


def test_an_attachment_that_takes_too_long() -> None:
    with pytest.raises(CommandError, match=r"attachment c is not ready after 0\.01 s; is its host up\?"):
        wait.for_attachment(Claims("pending"), item("pending"), 0.01)
