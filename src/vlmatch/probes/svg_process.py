"""Render SVG drawings in processes of their own, under a time limit: a drawing may hang its renderer, or crash it."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from queue import LifoQueue
from typing import IO

from vlmatch.probes.svg_worker import ANSWER, REQUEST

SECONDS = 20.0  # for one drawing; most take less than a tenth
_PROCESSES = 4  # at most, and no more than cores


class Renderers:
    """Processes that render drawings. One is started when all others are busy; one that ended is replaced."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Forget all processes. A forked process has to, because its parent goes on using them."""
        self._free: LifoQueue[subprocess.Popen[bytes] | None] = LifoQueue()
        for _ in range(min(_PROCESSES, os.cpu_count() or 1)):
            self._free.put(None)

    def png(self, drawing: bytes, seconds: float = SECONDS) -> bytes:
        """A drawing as a PNG, see `svg.rendered`. seconds: the time limit.

        Raises ValueError if it can't be rendered, or not in that time.
        """
        process = self._free.get() or _started()
        answer = None
        try:
            answer = _asked(process, drawing, seconds)
        finally:  # after an interrupt, the process is ended: its late answer would be taken for the next drawing's
            status = None if answer else _ended(process)
            self._free.put(process if answer else None)
        if answer is None:
            took_long = status == -signal.SIGALRM
            raise ValueError(f"it takes longer than {seconds:g} s" if took_long else "its renderer crashed")
        right, content = answer
        if not right:
            raise ValueError(content.decode())
        return content


def _started() -> "subprocess.Popen[bytes]":
    root = str(Path(__file__).parents[2])
    search = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-m", "vlmatch.probes.svg_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": search},
    )


def _asked(process: "subprocess.Popen[bytes]", drawing: bytes, seconds: float) -> tuple[bool, bytes] | None:
    """Whether a drawing was rendered, and the PNG or the message; None if the process ended instead."""
    try:
        _pipe(process.stdin).write(REQUEST.pack(seconds, len(drawing)) + drawing)
        _pipe(process.stdin).flush()
    except BrokenPipeError:
        return None
    header = _pipe(process.stdout).read(ANSWER.size)
    if len(header) < ANSWER.size:
        return None
    right, length = ANSWER.unpack(header)
    content = _pipe(process.stdout).read(length)
    return None if len(content) < length else (right, content)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    """One of the pipes of a process that was started with both."""
    if pipe is None:
        raise ValueError("its renderer has no pipe")
    return pipe


def _ended(process: "subprocess.Popen[bytes]") -> int:
    """How the process ended; it is killed unless it has ended by itself."""
    try:
        return process.wait(timeout=1)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


RENDERERS = Renderers()
"""The renderers of this process."""

os.register_at_fork(after_in_child=RENDERERS.forget)
