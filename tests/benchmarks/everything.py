"""Every benchmark of a GPU in pieces, each in a process of its own, as many as fit into the time; the same command goes on.

python tests/benchmarks/everything.py OUT [--minutes 9] [--only NAME …] [--list]

What a piece found lies in OUT/PIECE as JSON, with what it printed. A piece that was cut off, or failed, is tried again the next
time; one that is done (OUT/PIECE/done) is not.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ALL = ("--batches", "1", "2", "4", "8", "16", "32")


@dataclass(frozen=True)
class Piece:
    """seconds: that an H100 takes for it, about; it is not begun with less."""

    name: str
    seconds: int
    words: tuple[str, ...]


PIECES = (
    Piece("forward", 170, ("unet_forward.py", "--batches", "2", "--compiled", "2")),
    Piece("forward-16", 200, ("unet_forward.py", "--batches", "16", "--compiled", "16")),
    Piece("pipeline", 240, ("pipeline.py",)),
    Piece("training", 150, ("training.py", "sd")),
    Piece("training-compiled", 420, ("training.py", "sd", "compiled")),
    Piece("training-small", 120, ("training.py", "small")),
    Piece("forward-32", 120, ("unet_forward.py", "--sizes", "32", *ALL, "--compiled")),
    Piece("forward-64", 120, ("unet_forward.py", "--sizes", "64", *ALL, "--compiled")),
    Piece("forward-96", 180, ("unet_forward.py", "--sizes", "96", *ALL, "--compiled")),
    Piece("recompute", 400, ("ways.py", "recompute")),
    Piece("compile", 540, ("ways.py", "compile")),
    Piece("injectors", 300, ("injectors.py", "--sd", "--no-count")),
    Piece("approximations", 240, ("approximations.py", "animals", "--pictures", "2000", "--frechet", "1001")),
)


def run(piece: Piece, out: Path, left: float) -> bool:
    """Did it come to its end?"""
    folder = out / piece.name
    folder.mkdir(parents=True, exist_ok=True)
    line = [sys.executable, str(HERE / piece.words[0]), *piece.words[1:]]
    with (folder / "printed.txt").open("w") as printed:
        try:
            done = subprocess.run(
                line, env={**os.environ, "OUT": str(folder)}, stdout=printed, stderr=subprocess.STDOUT, timeout=left, check=False
            )
        except subprocess.TimeoutExpired:
            return False
    if done.returncode == 0:
        (folder / "done").touch()
    return done.returncode == 0


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("out", type=Path)
    asked.add_argument("--minutes", type=float, default=9.0)
    asked.add_argument("--only", nargs="*", choices=[piece.name for piece in PIECES])
    asked.add_argument("--list", action="store_true")
    told = asked.parse_args()
    until = time.monotonic() + 60 * told.minutes
    wanted = [piece for piece in PIECES if told.only is None or piece.name in told.only]
    left = [piece for piece in wanted if not (told.out / piece.name / "done").is_file()]
    for piece in left:
        if told.list or piece.seconds > until - time.monotonic():
            print(f"{piece.name}: left, about {piece.seconds} s", flush=True)
            continue
        began = time.monotonic()
        ended = run(piece, told.out, until - began)
        printed = (told.out / piece.name / "printed.txt").read_text().splitlines()
        print(
            f"{piece.name}: {'done' if ended else 'NOT done'} in {time.monotonic() - began:.0f} s",
            *printed[-30:],
            sep="\n  ",
            flush=True,
        )
    return 0 if all((told.out / piece.name / "done").is_file() for piece in wanted) else 1


if __name__ == "__main__":
    sys.exit(main())
