"""The process in which drawings are rendered: it reads SVG from its input, and ends itself if one takes too long."""

import resource
import signal
import struct
import sys

from vlmatch.errors import one_line
from vlmatch.probes.svg import rendered, text_of_drawing

REQUEST = struct.Struct(">dQ")  # time limit in seconds, and size in bytes of the drawing, which follows
ANSWER = struct.Struct(">?Q")  # whether it was rendered, and size of the PNG or message, which follows
MAX_MEMORY = 4 << 30  # bytes


def main() -> None:
    """Render drawings until the input ends, as it does when the process that asks has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, even while the renderer's own code runs
    _limit(resource.RLIMIT_AS, MAX_MEMORY)
    _limit(resource.RLIMIT_CORE, 0)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while len(header := source.read(REQUEST.size)) == REQUEST.size:
        seconds, length = REQUEST.unpack(header)
        drawing = source.read(length)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            answer, right = rendered(text_of_drawing(drawing)), True
        except BaseException as error:  # the renderer's panics are no Exception
            answer, right = one_line(error).encode(errors="replace"), False
        signal.setitimer(signal.ITIMER_REAL, 0)
        sink.write(ANSWER.pack(right, len(answer)) + answer)
        sink.flush()


def _limit(what: int, most: int) -> None:
    """Limit a resource of this process, unless it is limited to less already."""
    _, allowed = resource.getrlimit(what)
    limit = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
    resource.setrlimit(what, (limit, limit))


if __name__ == "__main__":
    main()
