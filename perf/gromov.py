"""Time the Gromov-Wasserstein solver beside its peers, in one run: `python perf/gromov.py [suite ...]`.

perf/README.md says what each suite measures and what the columns of its result mean.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gromov_problems import Problems
    from gromov_suites import Result

SUITES = ("pair", "pool", "starts", "peers", "scaling")
SIZES = {"peers": [250, 500, 1000], "scaling": [250, 500, 1000, 2000, 4000, 5000]}
LIMITS = {"peers": 120.0, "scaling": 600.0}
PEER_ENCODER, PEER_LLM = "efficientnet_lite0", "smollm2"


def main(arguments: list[str] | None = None) -> None:
    """Run the requested suites, one after another; each writes its files when it ends."""
    options = _options(arguments)
    from vlmatch import paths
    from vlmatch.errors import VlmatchError

    os.environ.setdefault("NUMBA_CACHE_DIR", str(paths.cache() / "numba"))
    from gromov_report import machine

    warnings.filterwarnings("ignore", module="ot")
    options.out.mkdir(parents=True, exist_ok=True)
    machine_line = machine()
    print(machine_line, flush=True)
    for suite in options.suites or SUITES:
        try:
            _finish(suite, options, machine_line, *_run(suite, options))
        except VlmatchError as error:
            sys.exit(f"perf/gromov.py: {error}")


def _run(suite: str, options: argparse.Namespace) -> "tuple[Result, str]":
    """The result of one suite, and a description of its problems."""
    from gromov_suites import pair, pool, starts
    from gromov_suites_alone import peers, scaling

    limit = options.limit or LIMITS.get(suite, 0.0)
    sizes = options.sizes or SIZES.get(suite, [])
    if suite == "scaling":
        return scaling(sizes, limit, options.seed, options.device), "Gaussian clouds, dimensions 8 and 32"
    if suite == "peers":
        by_size = {n: _problems(n, options, few=True) for n in sizes}
        return peers(by_size, limit, options.ott_python), _described(next(iter(by_size.values())), sizes)
    problems = _problems(options.n, options)
    suites: dict[str, Callable[[], Result]] = {
        "pair": lambda: pair(problems, options.repeats),
        "pool": lambda: pool(problems),
        "starts": lambda: starts(problems, options.loss),
    }
    return suites[suite](), _described(problems, [problems.n])


def _problems(n: int, options: argparse.Namespace, *, few: bool = False) -> "Problems":
    """Problems of `n` pairs: those that the options name, else one if `few`, else all."""
    from gromov_problems import real, synthetic

    if options.data == "synthetic":
        return synthetic(n, seed=options.seed, few=few)
    encoders = options.encoders or ({PEER_ENCODER} if few else None)
    return real(n, seed=options.seed, encoders=encoders, llms=options.llms or ({PEER_LLM} if few else None))


def _finish(suite: str, options: argparse.Namespace, machine_line: str, result: "Result", source: str) -> None:
    from gromov_plots import plot_pair, plot_scaling
    from gromov_report import print_figures, write_figures, write_rows

    write_rows(options.out, suite, result.rows)
    write_figures(options.out, suite, source, result.figures, machine_line)
    print_figures(suite, source, result.figures)
    plots = {"pair": plot_pair, "scaling": plot_scaling}
    if suite in plots:
        plots[suite](result.rows, source, options.out / f"gromov_{suite}.png")


def _described(problems: "Problems", sizes: list[int]) -> str:
    return f"problems: {len(problems)}, from {problems.source}; n = {', '.join(map(str, sizes))}"


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="perf/gromov.py", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="suite", help=f"some of {', '.join(SUITES)}; default: all")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder for CSV files and plots")
    parser.add_argument("--data", choices=("real", "synthetic"), default="real", help="scaling is always synthetic")
    parser.add_argument("--n", type=int, default=1000, help="pairs in each problem of pair, pool and starts")
    parser.add_argument("--sizes", type=_integers, help="comma-separated n of peers and scaling")
    parser.add_argument("--encoders", type=_names, help="only these, comma-separated; 'NAME noise' is a twin")
    parser.add_argument("--llms", type=_names, help="only these, comma-separated")
    parser.add_argument("--repeats", type=int, default=1, help="pair: solves of each problem; seconds are medians")
    parser.add_argument("--loss", choices=("l1", "l2"), default="l1", help="loss of starts")
    parser.add_argument(
        "--limit", type=float, help="seconds after which peers and scaling stop a solve; default: 120, 600"
    )
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="scaling: device of vlmatch's gradients"
    )
    parser.add_argument("--ott-python", help="peers: path of a Python that has ott-jax")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    unknown = set(options.suites) - set(SUITES)
    if unknown:
        parser.error(f"suite '{min(unknown)}' is unknown, wanted some of {', '.join(SUITES)}")
    return options


def _integers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _names(text: str) -> set[str]:
    return {part.strip() for part in text.split(",")}


if __name__ == "__main__":
    main()
