"""Peak memory of the steps of DAAS against the number of policies, architectures and paths.

    python benchmarks/bench_daas.py

The path is fixed, so that every draw is as large as the others; 16 channels, one cell a stage, 64 digits. The peak is that
of all allocations of torch on the host during one step, from torch's profiler, above what was there before the step.
"""

from dataclasses import replace

import torch
from torch.profiler import ProfilerActivity, profile

from nas_search import methods
from nas_search.batches import Batch
from nas_search.data_sources import digits
from nas_search.policy_gradient import PolicyStep
from nas_search.relaxations import HardGumbel
from nas_search.roles import Relaxation, Update
from nas_search.samplers import Fixed
from nas_search.state import SearchState
from nas_search.updates import OuterStep, WeightStep
from nas_spaces import Choices, nas_bench_201

PATH = "|nor_conv_1x1~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_1x1~1|avg_pool_3x3~2|"
STEPS: tuple[tuple[str, tuple[tuple[int, Update], ...]], ...] = (
    ("policy step: policies", tuple((count, PolicyStep(1, count)) for count in (2, 4, 8))),
    ("policy step: architectures", tuple((count, PolicyStep(count, 2)) for count in (1, 5, 10))),
    ("outer step: architectures", tuple((count, OuterStep(count)) for count in (1, 5, 10))),
    ("weight step: paths", tuple((count, WeightStep(count)) for count in (2, 5, 10))),
)


def decided(choices: Choices) -> Relaxation:
    """A relaxation that draws the path that is fixed for the other steps."""
    relaxation = HardGumbel(choices)
    with torch.no_grad():
        for row, (option,) in enumerate(nas_bench_201().parse(PATH).options):
            relaxation.logits[row, option] = 100.0
    return relaxation


def peak(update: Update) -> int:
    """Bytes that a step holds at most beside what the search holds."""
    method = replace(methods.daas(), sampler=Fixed(PATH), relaxation=decided)
    cpu = torch.device("cpu")
    state = SearchState(
        nas_bench_201(), digits(), method, epochs=1, batch_size=64, seed=0, device=cpu, channels=16, cells=1
    )
    update(state, Batch(state.train, state.valid, 0))  # what is made once: momentum buffers, decompositions
    batch = Batch(state.train, state.valid, 1)
    assert len(batch.train.labels) == len(batch.valid.labels)  # both are fetched, before anything is counted
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        update(state, batch)
    now = most = 0
    for event in sorted(record.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


def main() -> None:
    print("| step | peak MiB | largest over smallest |")
    print("|---|---|---:|")
    for name, updates in STEPS:
        peaks = {count: peak(update) / 2**20 for count, update in updates}
        shown = ", ".join(f"{value:.2f} ({count})" for count, value in peaks.items())
        print(f"| {name} | {shown} | {max(peaks.values()) / min(peaks.values()):.3f} |", flush=True)


if __name__ == "__main__":
    main()
