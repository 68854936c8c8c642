"""Damage a thousand files of each format and read them: ``python damaged_files.py``.

What is damaged, how, and what reads it stands in ``tests/references`` (`damage`, `file_formats`); a few files of each format are
part of the tests. A file has to be read, or refused with an error of ours, within 20 seconds and 6 GiB of memory.
"""

import argparse
import logging
import os
import resource
import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "references"))

import torch
from damage import fuzz
from file_formats import FORMATS, write_files


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="damaged files of each format")
    parser.add_argument("--formats", default=",".join(FORMATS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable()
    warnings.simplefilter("ignore")  # of a damaged file's values; the tests do not let them pass
    resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, 6 * 2**30))
    total = failed = 0
    print("| format | files | refused | read | other outcomes |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        os.environ["XDG_CACHE_HOME"] = str(Path(place) / "cache")
        folder = Path(place) / "run"
        write_files(folder)
        for name in options.formats.split(","):
            found = fuzz(name, FORMATS[name], folder, options.count)
            wrong = len(found.failures)
            print(
                f"| {name} | {found.files:,} | {found.refused:,} | {found.files - found.refused - wrong:,} | {wrong} |",
                flush=True,
            )
            for line in found.failures[:20]:
                print(line, file=sys.stderr, flush=True)
            total, failed = total + found.files, failed + wrong
    print(f"\n{total:,} files, {failed} other outcomes")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
