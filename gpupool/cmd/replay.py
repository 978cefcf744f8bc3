"""gpupool-replay: replays a trace or a recording through the allocator and the queue.

Nothing but the result goes to standard output; what is going on, to standard error.
"""

import sys
from collections.abc import Sequence

from gpupool.cmd import output
from gpupool.model import errors
from gpupool.replay import parser, plot, report
from gpupool.replay.commands import Done


def main(args: Sequence[str] | None = None) -> int:
    """Run one replay; return 0, or 1 with the reason on standard error (argparse returns 2)."""
    parsed = parser.make(__doc__).parse_args(args)
    try:
        if parsed.plot is not None:
            plot.check(parsed.plot)
        if parsed.csv is not None:
            report.check_writable("csv", parsed.csv)
        done: Done = parsed.run(parsed)
        _print(report.as_json(done.report) if parsed.json else report.as_text(done.report))
        if parsed.csv is not None:
            done.write(parsed.csv)
        if parsed.plot is not None:
            done.draw(parsed.plot)
    except errors.GpupoolError as exc:
        print(f"gpupool-replay: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        output.discard()


if __name__ == "__main__":
    sys.exit(main())
