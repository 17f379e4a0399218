"""`python -m experiments.benchmarks`: the options of `jaxcnn bench`."""

import argparse
import sys
from pathlib import Path

from experiments.benchmarks.command import run
from jaxcnn.training import keep_memory


def main() -> int:
    """Reads the options, and runs."""
    parser = argparse.ArgumentParser("python -m experiments.benchmarks", description=__doc__)
    parser.add_argument("--rows", nargs="+", default=(), help="patterns of rows, as lenet* or step/*")
    parser.add_argument("--peers", nargs="+", default=(), help="as flax, or torch for all its forms")
    parser.add_argument("--quick", action="store_true", help="few rounds of small rows")
    parser.add_argument("--rounds", type=int, default=15, help="alternating rounds of a row, at most")
    parser.add_argument("--budget", type=float, default=20.0, help="seconds for the rounds of a row")
    parser.add_argument("--out", type=Path, help="file that gets the figures")
    parser.add_argument("--list", action="store_true", help="print the rows and who takes part")
    parser.add_argument("--report", nargs="+", type=Path, default=(), help="files to print and draw")
    parser.add_argument("--readme", action="store_true", help="write the tables of the README and of docs/speed.md")
    parser.add_argument("--choices", action="store_true", help="write the table by which `ops.conv` chooses")
    keep_memory()
    try:
        run(**vars(parser.parse_args()))
    except (ValueError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
