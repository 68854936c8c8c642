"""What each method communicates in a step, and how far that lets a search scale: ``python scaling_model.py [FIGURE.png]``.

The bytes are counted: one step of each method runs in a process group of two ranks that communicates nothing (torch's fake
backend), and what it gives to all-reduce is summed. The time of a step on ``p`` devices with a fixed batch for each is that of
one device plus, for each all-reduce of ``m`` bytes, that of a ring:

``t(m, p) = 2 (p - 1) latency + 2 (p - 1) / p * m / bandwidth``

(Thakur, Rabenseifner and Gropp, "Optimization of Collective Communication Operations in MPICH", 2005). Nothing of the
communication overlaps with computing, as is the case here.
"""

import argparse
from typing import Any

import torch
from torch import distributed
from torch.testing._internal.distributed.fake_pg import FakeStore

from nas_search import Method, methods
from nas_search.data_sources import fake
from nas_search.state import SearchState
from nas_spaces import nas_bench_201

METHODS: dict[str, Method] = {
    "darts, first order": methods.darts(order=1),
    "darts, second order": methods.darts(order=2),
    "gdas": methods.gdas(),
    "idarts": methods.idarts(),
    "daas, policy learning": methods.daas(warmup=0.0),
    "dha": methods.dha(),
    "enas": methods.enas(),
}
DEVICES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def messages(method: Method, channels: int, cells: int) -> list[int]:
    """The bytes of every all-reduce of one step, with 32 x 32 colour images in 10 classes."""
    state = SearchState(
        nas_bench_201(), fake("3x32x32", count=64, classes=10), method, epochs=1, batch_size=16, seed=0,
        device=torch.device("cpu"), channels=channels, cells=cells,
    )  # fmt: skip
    found: list[int] = []
    library: Any = distributed
    real = library.all_reduce

    def counted(tensor: torch.Tensor, *args: Any, **options: Any) -> Any:
        found.append(tensor.numel() * tensor.element_size())
        return real(tensor, *args, **options)

    library.all_reduce = counted
    try:
        state.advance()
    finally:
        library.all_reduce = real
    return found


def efficiency(found: list[int], devices: int, seconds: float, bandwidth: float, latency: float) -> float:
    """The share of a step of `seconds` that is not spent communicating."""
    ring = sum(
        2 * (devices - 1) * latency + 2 * (devices - 1) / devices * size / bandwidth for size in found if devices > 1
    )
    return seconds / (seconds + ring)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", nargs="?", help="where the figure is drawn")
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--cells", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.1, help="of a step on one device")
    parser.add_argument("--bandwidth", type=float, default=25e9, help="bytes a second between two devices")
    parser.add_argument("--latency", type=float, default=5e-6, help="seconds of a message")
    options = parser.parse_args()
    distributed.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    link = options.seconds, options.bandwidth, options.latency
    curves = {}
    print(f"| method | all-reduces | MB a step | {' | '.join(f'{count:,}' for count in DEVICES)} |")
    print(f"|---|---|---|{'---|' * len(DEVICES)}")
    for name, method in METHODS.items():
        found = messages(method, options.channels, options.cells)
        curves[name] = [efficiency(found, count, *link) for count in DEVICES]
        shown = " | ".join(f"{100 * value:.0f} %" for value in curves[name])
        print(f"| {name} | {len(found)} | {sum(found) / 1e6:.2f} | {shown} |", flush=True)
    if options.figure:
        draw(curves, options.figure)


def draw(curves: dict[str, list[float]], path: str) -> None:
    """Efficiency against devices."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, values in curves.items():
        axes.plot(DEVICES, [100 * value for value in values], marker="o", label=name)
    axes.set_xscale("log", base=2)
    axes.set_xticks(DEVICES, [str(count) for count in DEVICES])
    axes.set(xlabel="devices, each with the same batch", ylabel="share of the time that computes, %", ylim=(0, 102))
    axes.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
