"""Kill searches and a training at random moments, let each go on, and compare the end bit by bit: ``python kill_and_resume.py``.

``kill -9`` from outside, at a moment drawn uniformly from the time that the whole run takes: in a step, while a checkpoint is
written, while an autoencoder is trained, before there is anything to go on from. After each kill the run is started again; one
that reaches its end before the next kill is compared with the run that nobody killed (weights, architecture, history, policy,
every file of the folder but timings), and begun anew. The settings are those of ``tests/integration/test_survival.py``, where
a few kills of each kind are part of the slow tests.
"""

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "integration"))

from test_survival import BASE, KILLED, METHODS, Forks, arguments, assert_same, content

TRAINING = "training"


class Run:
    """One kind of run, beside its whole one.

    Args:
        name: a method, or `TRAINING`.
        folder: where its files go.
        forks: what runs it.
    """

    def __init__(self, name: str, folder: Path, forks: Forks) -> None:
        self.name, self.folder, self.forks = name, folder, forks
        self.whole, self.parts = folder / "whole", folder / "parts"
        if name == TRAINING:
            forks.done(argv=["search", *arguments({**BASE, "method": "gdas"}), "--out", str(self.whole)])
            shutil.copytree(self.whole, self.parts)
            self.seconds, _ = forks.done(argv=["train", "--epochs", "8", str(self.whole)])
        else:
            self.seconds, _ = forks.done(**self.search(self.whole))
        self.expected = content(self.whole)

    def search(self, out: Path) -> dict[str, Any]:
        """The job of a search; it goes on where there is something to go on from."""
        config = {**BASE, "method": self.name, "settings": METHODS[self.name]}
        return {"config": config, "out": out, "cache": self.folder / f"cache-{out.name}"}

    @property
    def job(self) -> dict[str, Any]:
        """The job that is killed."""
        if self.name != TRAINING:
            return self.search(self.parts)
        more = ["--resume"] if self.saved else []
        return {"argv": ["train", "--epochs", "8", str(self.parts), *more]}

    @property
    def saved(self) -> bool:
        """Whether there is a checkpoint."""
        name = "retrain.pt" if self.name == TRAINING else "last.pt"
        return (self.parts / "checkpoints" / name).exists()

    def compare(self) -> None:
        """The end with the end of the whole run."""
        assert_same(content(self.parts), self.expected, self.name)

    def clear(self) -> None:
        """Begin anew."""
        if self.name == TRAINING:
            (self.parts / "checkpoints" / "retrain.pt").unlink()
            return
        shutil.rmtree(self.parts)
        shutil.rmtree(self.folder / "cache-parts", ignore_errors=True)

    def kill(self, kills: int, generator: random.Random) -> tuple[int, int]:
        """Kill it so many times; how many of them left a checkpoint, and how many ends were compared."""
        done = saved = compared = 0
        while done < kills:
            status, _, printed = self.forks.run(**self.job, seconds=generator.random() * self.seconds)
            if status == KILLED:
                done += 1
                saved += self.saved
                continue
            if status:
                raise SystemExit(f"{self.name} failed after {done} kills:\n{printed}")
            self.compare()
            compared += 1
            self.clear()
        self.forks.done(**self.job)
        self.compare()
        return saved, compared + 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--kinds", default=",".join((*METHODS, TRAINING)))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("| run | settings | kills | of them with a checkpoint | ends compared | differences |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        forks = Forks(Path(place))
        for name in options.kinds.split(","):
            folder = Path(place) / name
            folder.mkdir()
            run = Run(name, folder, forks)
            saved, compared = run.kill(options.kills, random.Random(f"{options.seed} {name}"))
            settings = ", ".join(f"{key}={value}" for key, value in METHODS.get(name, {}).items()) or "defaults"
            print(f"| {name} | {settings} | {options.kills} | {saved} | {compared} | 0 |", flush=True)
        forks.process.communicate()


if __name__ == "__main__":
    main()
