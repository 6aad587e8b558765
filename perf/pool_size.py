"""Time ranking and report of a large pool: `python perf/pool_size.py` makes a store of 200 encoders and 4 LLMs.

Arrays and scores are random, because only the steps after scoring are timed. See perf/README.md.
"""

import argparse
import io
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from gromov_report import machine
from PIL import Image
from rich.console import Console

import vlmatch
from vlmatch.api.ranking import score_choice
from vlmatch.embeddings.embed import header_of, written
from vlmatch.embeddings.header import EmbeddingSpec
from vlmatch.embeddings.store import FILE, Embeddings, Store
from vlmatch.encoders.about import About
from vlmatch.packages.licences import NONE_STATED
from vlmatch.probes.folder import folder
from vlmatch.probes.pairs import ProbeSet
from vlmatch.scores import rows


def main(arguments: list[str] | None = None) -> None:
    """Print the seconds of each step, and the length of the answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("encoders", 200), ("llms", 4), ("pairs", 644), ("width", 256)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args(arguments)
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory() as place:
        probe = pictures(Path(place), options.pairs)
        store = Store(Path(place) / "store")
        timed("making the store", lambda: fill(store, probe, options))
        ranking = timed("ranking", lambda: vlmatch.rank_stored(probe, store=store))
        text = timed("the answer in the terminal", lambda: printed(ranking))
        table = timed("the table", lambda: ranking.to_csv(Path(place) / "ranking.csv"))
        page = timed("the report", lambda: ranking.report(Path(place) / "report.html"))
        print(f"terminal: {len(text.splitlines())} lines, the longest {max(map(len, text.splitlines()))} characters")
        print(f"table: {len(table.read_text().splitlines())} lines; report: {page.stat().st_size / 2**20:.1f} MiB")


def timed(what: str, do: Any) -> Any:
    """Call `do` and return its result; print its seconds of wall clock and of processor time."""
    wall, processor = time.perf_counter(), time.process_time()
    found = do()
    seconds = time.perf_counter() - wall
    print(f"{what}: {seconds:.1f} s, {time.process_time() - processor:.1f} s of processor time", flush=True)
    return found


def printed(ranking: vlmatch.PoolRanking) -> str:
    """The answer as printed in a terminal of 120 columns."""
    text = io.StringIO()
    ranking.show(Console(file=text, width=120))
    return text.getvalue()


def pictures(place: Path, n: int) -> ProbeSet:
    """n small pictures of noise with captions."""
    random = np.random.default_rng(0)
    (place / "pictures").mkdir()
    lines = ["image,caption"]
    for number in range(n):
        Image.fromarray(random.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(place / "pictures" / f"{number}.png")
        lines.append(f"{number}.png,Noise of number {number}.")
    (place / "pictures" / "captions.csv").write_text("\n".join(lines) + "\n")
    return folder(place / "pictures", "pictures")


def fill(store: Store, probe: ProbeSet, options: argparse.Namespace) -> None:
    """Store random arrays of every model. One pair is scored; the scores of the others are drawn around its scores."""
    random = np.random.default_rng(1)
    signal = random.normal(size=(len(probe), 32))
    encoders = [model(store, probe, "encoder", f"encoder_{k:03d}", signal, options) for k in range(options.encoders)]
    llms = [model(store, probe, "llm", f"llm_{k}", signal, options) for k in range(options.llms)]
    scores = score_choice(None)
    first = rows.score_pair(encoders[0], llms[0], scores, store)
    for image in encoders:
        for text in llms:
            inputs = rows._inputs(image.header.spec_sheet, None)
            drawn = {
                name: replace(
                    scored,
                    value=scored.value * float(random.uniform(0.7, 1.3)),
                    inputs={key: inputs[key] for key in scored.inputs},
                    subsamples=tuple(value * float(random.uniform(0.9, 1.1)) for value in scored.subsamples),
                )
                for name, scored in first.scores.items()
            }
            left_out = {
                name: replace(left, inputs={key: inputs[key] for key in left.inputs})
                for name, left in first.left_out.items()
            }
            row = rows.Row(image.header, text.header, drawn, left_out)
            rows._write(rows._path(store, image.header, text.header), row)


def model(store: Store, probe: ProbeSet, kind: str, name: str, signal: Any, options: argparse.Namespace) -> Embeddings:
    """A stored array whose rows follow the common signal; every twentieth encoder is a control."""
    random = np.random.default_rng(abs(hash((kind, name))) % 2**32)
    array = signal @ random.normal(size=(32, options.width)) + random.normal(size=(len(probe), options.width))
    settings = {"feature": "paper"} if kind == "encoder" else {}
    spec = EmbeddingSpec(kind, name, settings, 1, probe.key, probe.fingerprint, len(probe), "32-true")
    control = kind == "encoder" and name.endswith(("00", "20", "40", "60", "80"))
    about = About(name, "cls", control, int(random.integers(5, 900)) * 1_000_000, None, {})
    licence = {"name": NONE_STATED.name, "source": "", "how": ""}
    header = header_of(spec, array.astype(np.float32), about, licence)
    return written(store.folder(spec) / FILE, array.astype(np.float32), header)


if __name__ == "__main__":
    main()
