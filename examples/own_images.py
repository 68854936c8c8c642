"""Search a network for the images of a folder, which has a folder for every class, and save it trained.

    python examples/own_images.py photos --epochs 50 --out runs/photos
    python examples/own_images.py                     # scikit-learn's digits, written as image files

It is what `nascli search --data imagefolder:photos` does; docs/own_images.md says how the images are read.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from nas_search.config import RunConfig
from nas_search.model_file import load_model
from nas_search.runs import run_search


def write_digits(folder: Path) -> Path:
    """900 handwritten digits as PNG files, a folder for each."""
    bunch = load_digits()
    for index, (pixels, label) in enumerate(zip(bunch.images[:900], bunch.target, strict=False)):
        file = folder / f"digit{label}" / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.uint8(pixels * 255 / 16)).save(file)
    return folder


def main() -> None:
    """Search, train, load what was trained, and say what it is worth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or write_digits(Path(scratch, "digits"))
        out = options.out or Path(scratch, "run")
        config = RunConfig(data=f"imagefolder:{folder}", method="gdas", epochs=options.epochs, channels=8)
        record = run_search(config, out)
        network = load_model(out / "model.pt")
        print(record["architecture"])
        size = sum(each.numel() for each in network.parameters())
        print(f"{size:,} parameters, {record['metrics']['test_accuracy']:.2%} of the test images")


if __name__ == "__main__":
    main()
