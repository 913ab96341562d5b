"""Coverage-guided fuzzing of one target with atheris: `python tests/fuzz/fuzz.py spec --seconds 600`.

What it finds to be new it keeps in build/fuzz/TARGET, and goes on from there the next time. What makes cdkit fall over is left as
crash-…, timeout-… or oom-… in build/fuzz/found/TARGET: mend it, and move the file to tests/fuzz/regressions/TARGET.
"""

from __future__ import annotations

import argparse
import resource
import sys
from pathlib import Path

import atheris  # pyright: ignore[reportMissingImports]  # an extra of its own

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "fuzz"
SPECS = HERE.parents[1] / "specs"
ROOM = 300  # MB that an input may take above the idle process
LONGEST = 5  # seconds of a shared core that an input may take; the replay of what is kept holds it to one
SIZES = {"spec": 8192, "manifest": 4096, "checkpoint": 4096, "prompt": 2048, "image": 16384}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("target", choices=SIZES)
    asked.add_argument("--seconds", type=int, default=600)
    told = asked.parse_args()
    sys.path.insert(0, str(HERE))
    with atheris.instrument_imports(include=["cdkit", "cdkit_data", "cdkit_encoders", "yaml", "PIL", "json", "csv"]):
        import PIL.Image
        from fuzz_targets import TARGETS, registry

        # What is imported at first use would be imported without counters.
        registry()
        PIL.Image.init()
    corpus, found = BUILD / told.target, BUILD / "found" / told.target
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    kept = [path for path in (HERE / "seeds" / told.target, HERE / "regressions" / told.target) if path.is_dir()]
    seeds = [SPECS] if told.target == "spec" else []
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    options = {
        "max_total_time": told.seconds,
        "max_len": SIZES[told.target],
        "timeout": LONGEST,
        "rss_limit_mb": idle + ROOM,
        "artifact_prefix": f"{found}/",
        "print_final_stats": 1,
    }
    atheris.Setup(
        [sys.argv[0], *(f"-{name}={value}" for name, value in options.items()), *map(str, (corpus, *kept, *seeds))],
        TARGETS[told.target],
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
