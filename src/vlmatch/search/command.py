"""A user's own command that trains one encoder for a given number of steps and returns a number."""

import math
import os
import shlex
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vlmatch.errors import VlmatchError, one_line
from vlmatch.search.claim import Claim

LONGEST = 200  # characters that an error quotes of a failed command's output


@dataclass(frozen=True)
class Command:
    """A command line with names in braces: encoder, llm, steps, earlier and folder.

    steps: the number of steps of a whole training. value_file: the file to which the command writes its number; None:
    it prints the number. llm: the name of the LLM. folder: the search's folder, in which each encoder gets its own.
    claim: the claim on that folder.
    """

    line: str
    steps: int
    value_file: str | None
    llm: str
    folder: Path
    claim: Claim

    def train(self, encoder: str, fraction: float, earlier: float) -> tuple[int, float]:
        """Train an encoder up to a fraction of the steps; returns the steps and the value.

        earlier: the fraction up to which it has been trained before. Raises VlmatchError if the command fails or gives
        no finite number.
        """
        own = (self.folder / encoder).absolute()
        own.mkdir(parents=True, exist_ok=True)
        steps = self.steps_at(fraction)
        known = {"encoder": encoder, "llm": self.llm, "steps": steps, "earlier": self.steps_at(earlier), "folder": own}
        words = [word.format(**known) for word in shlex.split(self.line)]
        written = None if self.value_file is None else Path(self.value_file.format(**known))
        if written is not None:
            written.unlink(missing_ok=True)  # left by an earlier part, or by a part that was killed
        printed = own / f"{steps}.out"
        self._run(words, printed, own / f"{steps}.err")
        if written is not None and not written.is_file():
            raise VlmatchError(f"the command wrote no file '{written}'; see '{printed}'")
        return steps, number_in(printed if written is None else written)

    def steps_at(self, fraction: float) -> int:
        """The steps of a fraction of a training; at least 1, unless the fraction is 0."""
        return max(1, round(fraction * self.steps)) if fraction else 0

    def _run(self, words: list[str], out: Path, err: Path) -> None:
        self.claim.forget()
        with out.open("wb") as printed, err.open("wb") as complained:
            try:
                process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=printed,
                    stderr=complained,
                    start_new_session=True,
                    pass_fds=[self.claim.descriptor],
                )
            except OSError as error:
                raise VlmatchError(f"the command can't start: {error.strerror}: '{words[0]}'") from error
            try:
                self.claim.note(process.pid)
                code = process.wait()
            except BaseException:
                with suppress(ProcessLookupError):  # it may have ended meanwhile
                    os.killpg(process.pid, signal.SIGTERM)
                raise
        if code:
            said = one_line(last_line(err) or last_line(out) or "it said nothing")[:LONGEST]
            raise VlmatchError(f"the command ended with exit code {code}: {said}; see '{err}'")


def number_in(path: Path) -> float:
    """The last line of a file that is a number. Raises VlmatchError if there is none, or if it is not finite."""
    for line in reversed(path.read_text(encoding="utf-8", errors="replace").splitlines()):
        try:
            value = float(line)
        except ValueError:
            continue
        if not math.isfinite(value):
            raise VlmatchError(f"the command gave {line.strip()}, wanted a finite number; see '{path}'")
        return value
    raise VlmatchError(f"the command gave no number, wanted one on a line of its own; see '{path}'")


def last_line(path: Path) -> str | None:
    """The last line of a file that is not blank; None if there is none."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line for line in reversed(lines) if line.strip()), None)
