"""What a process wrote gets into the agent's log cut and escaped."""

import os

from gpupool.agent.process_log import LINE_LENGTH, MOST_LINES, ProcessLog


def taken(written: bytes) -> list[str]:
    log = ProcessLog()
    os.write(log.write_end, written)
    log.close_write_end()
    return log.take()


def test_nothing_written_is_no_line():
    assert taken(b"") == []
    assert taken(b"\n\n \n") == []


def test_control_and_bidirectional_characters_are_escaped():
    text = "\x1b[2Jforged\rline \u202e \x85 \0".encode() + b"\xff"
    assert taken(text) == ["\\x1b[2Jforged\\rline \\u202e \\x85 \\x00\\ufffd"]


def test_lines_are_bounded_in_number_and_length():
    assert taken(b"x" * 4000) == ["x" * LINE_LENGTH]
    assert len(taken(b"line\n" * 500)) == MOST_LINES


def test_a_process_that_writes_too_much_is_not_kept_waiting():
    log = ProcessLog()
    for _ in range(1000):
        try:
            os.write(log.write_end, b"y" * 4096)
        except BlockingIOError:
            break
    else:
        raise AssertionError("the pipe has no end")
    log.close_write_end()
    assert log.take() == ["y" * LINE_LENGTH]


def test_a_pipe_that_is_still_open_elsewhere_is_read_all_the_same():
    log = ProcessLog()
    assert log.take() == []
    log.close_write_end()
