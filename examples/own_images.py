"""Make of a folder of images, with a folder in it for every class, the archive that `nascli search --data npz:FILE` reads.

    python examples/own_images.py mine mine.npz --size 32
    nascli search --data npz:mine.npz --out runs/mine

A fifth of the images of each class is for the test. docs/own_images.md goes on from here.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def main() -> None:
    """Read, shrink, split and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--size", type=int, default=32, help="height and width of all images")
    parser.add_argument("--grey", action="store_true", help="one channel instead of three")
    options = parser.parse_args()
    classes = sorted(path.name for path in options.folder.iterdir() if path.is_dir())
    generator, parts = np.random.default_rng(0), {"x_train": [], "y_train": [], "x_test": [], "y_test": []}
    for label, name in enumerate(classes):
        files = sorted(path for path in (options.folder / name).iterdir() if path.suffix.lower() in ENDINGS)
        if len(files) < 2:
            parser.error(
                f"{options.folder / name} has {len(files)} images; a class needs one to train and one to test."
            )
        for place, index in enumerate(generator.permutation(len(files))):
            part = "test" if place < max(1, len(files) // 5) else "train"
            with Image.open(files[index]) as image:
                picture = image.convert("L" if options.grey else "RGB").resize((options.size, options.size))
            parts[f"x_{part}"].append(np.asarray(picture))
            parts[f"y_{part}"].append(label)
    np.savez(options.archive, **{name: np.array(values) for name, values in parts.items()})
    print(
        f"{options.archive}: {len(parts['y_train'])} to train, {len(parts['y_test'])} to test, in {', '.join(classes)}"
    )


if __name__ == "__main__":
    main()
