"""Short versions of the benchmarks, each beside a peer or a reference of the same run, by pytest-benchmark.

    nox -s bench
    pytest -o pythonpath=benchmarks benchmarks/short.py --benchmark-json=raw.json --benchmark-timer=time.process_time
    python benchmarks/short_report.py raw.json

The workloads are those of the bench_*.py scripts, smaller. Times are CPU seconds. What is measured in a process of its own
(imports, `nascli search`, peak memory) reports its figure as ``value`` in the extra information. The first case of a group is
what the others are compared with; `short_report.py` makes the table.
"""

import resource
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench_augment
import bench_hypergrad
import bench_spaces
import bench_supernet_201
import pytest
import torch
from reference_darts import ReferenceSupernet

from nas_spaces import nas_bench_201

pytestmark = pytest.mark.filterwarnings("ignore")
torch.set_num_threads(1)

BATCH, TERMS, STEPS = 2, 5, 6
MEMORY_BATCH = 16
FOLDER = Path(__file__).parent


def clock(benchmark: Any, group: str, call: Callable[[], object], rounds: int) -> None:
    benchmark.group = group
    benchmark.pedantic(call, rounds=rounds, warmup_rounds=1)


@pytest.mark.parametrize("name", ["straightforward", "mixed", "mixed, checkpointed"])
def test_darts_supernet_step(benchmark: Any, name: str) -> None:
    network = {
        "straightforward": ReferenceSupernet,
        "mixed": bench_spaces.SPACE.supernet,
        "mixed, checkpointed": lambda: bench_spaces.SPACE.supernet(checkpoint=True),
    }[name]()
    clock(benchmark, "DARTS supernet, 8 cells, a weight step", bench_spaces.step(network, BATCH, of="weights"), 3)


@pytest.mark.parametrize("name", ["mixed", "single path"])
def test_201_supernet_step(benchmark: Any, name: str) -> None:
    space = nas_bench_201()
    network = space.supernet(channels=16, cells=1).to(memory_format=torch.channels_last)
    images = torch.randn(32, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    architecture = space.sample(torch.Generator().manual_seed(1))
    mixed = name == "mixed"
    weights = torch.full((6, 5), 0.2) if mixed else space.weights(architecture)
    drawn = None if mixed else architecture.options
    group = "NAS-Bench-201 supernet, one cell a stage, a pass"
    clock(benchmark, group, lambda: bench_supernet_201.one(network, images, weights, drawn), 7)


ESTIMATORS = [
    "gradient",
    f"2 gradients + {TERMS + 1} products alone",
    f"plain neumann {TERMS}",
    f"ours neumann {TERMS}",
    f"torchopt neumann {TERMS}",
    f"ours unrolled {STEPS}",
    f"torchopt unrolled {STEPS}",
]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_hypergradient(benchmark: Any, name: str) -> None:
    make = bench_hypergrad.contenders(bench_hypergrad.small(), TERMS, STEPS)[name]
    if name.startswith("torchopt"):
        pytest.importorskip("torchopt")
    clock(benchmark, "hypergradients, a network of two layers", make(), 15)


@pytest.mark.parametrize("name", ["ours", "Pillow, with conversions", "torchvision functions", "kornia"])
def test_augmentation(benchmark: Any, name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (64, 3, 32, 32), generator=generator, dtype=torch.uint8)
    draws = [torch.rand(64, bench_augment.STAGE.numbers, generator=generator)]
    way = {
        "ours": lambda: bench_augment.ours(images, draws),
        "Pillow, with conversions": lambda: bench_augment.pillow(images, draws, True),
        "torchvision functions": lambda: bench_augment.torchvision_functional(images, draws),
        "kornia": lambda: bench_augment.kornia_per_image(images),
    }[name]()
    clock(benchmark, "augmentation of 64 images of 3 x 32 x 32, a policy for each", lambda: way(0), 5)


def of_process(benchmark: Any, group: str, command: list[str], rounds: int) -> None:
    """The CPU seconds of a process with all that it starts."""
    found = []

    def call() -> None:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    benchmark.group = group
    benchmark.pedantic(call, rounds=rounds)
    benchmark.extra_info.update(value=statistics.median(found), unit="s of CPU time")


NASCLI = ["-m", "nas_cli"]


@pytest.mark.parametrize(
    "name", ["torch", "nas_hypergrad", "nas_spaces", "nas_augment", "nas_search", "nas_cli", "nascli --help"]
)
def test_import(benchmark: Any, name: str) -> None:
    of_process(benchmark, "import", [*NASCLI, "--help"] if name == "nascli --help" else ["-c", f"import {name}"], 3)


SEARCHES = {
    "nascli search, as it is (DAAS, 24 + 24 epochs)": [],
    "nascli search, 40 + 40 epochs of gdas": ["--method", "gdas", "--epochs", "40"],
    "nascli search, 2 + 2 epochs of gdas": ["--method", "gdas", "--epochs", "2"],
}


@pytest.mark.parametrize("name", ["import torch", *SEARCHES])
def test_end_to_end(benchmark: Any, name: str, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "run"), "--device", "cpu"]
    command = [*NASCLI, "search", *SEARCHES[name], *out] if name in SEARCHES else ["-c", name]
    of_process(benchmark, "end to end, on digits", command, 1)


@pytest.mark.parametrize("name", bench_spaces.VARIANTS)
def test_memory(benchmark: Any, name: str) -> None:
    command = [str(FOLDER / "bench_spaces.py"), "--peak", name, "--batch", str(MEMORY_BATCH), "--threads", "1"]
    found: list[float] = []

    def call() -> None:
        done = subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True)
        found.append(float(done.stdout))

    benchmark.group = f"memory of a weight step of the DARTS supernet, batch {MEMORY_BATCH}"
    benchmark.pedantic(call, rounds=1)
    benchmark.extra_info.update(value=found[0], unit="MiB")
