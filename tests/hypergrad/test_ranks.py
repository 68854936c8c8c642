"""Averaging over the ranks of a real process group."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed
from torch.distributed import FileStore  # type: ignore[attr-defined]

from nas_hypergrad import (
    BilevelProblem,
    ForwardMode,
    Hypergradient,
    Implicit,
    Unrolled,
    Variables,
    average_across_ranks,
    blend,
    neumann,
    sgd,
)
from nas_hypergrad.testing import quadratic_problem

ESTIMATORS: list[Hypergradient] = [
    Implicit(neumann(4, 0.1)),
    Unrolled(sgd(0.1, momentum=0.5), 3),
    ForwardMode(sgd(0.1), 2),
]


def point() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Where the hypergradients are taken; each rank reaches one more outer variable, as where it samples a path."""
    _, inner, outer, _ = quadratic_problem()
    return inner, {
        **outer,
        "only 0": torch.ones(1, dtype=torch.float64),
        "only 1": torch.ones(2, 1, dtype=torch.float64),
    }


def losses(rank: int) -> BilevelProblem:
    problem, *_ = quadratic_problem()

    def inner_loss(w: Variables, a: Variables) -> Tensor:
        return problem.inner_loss(w, a) * (1 + rank) + (w["w"].square() * a[f"only {rank}"]).sum()

    def outer_loss(w: Variables, a: Variables) -> Tensor:
        return problem.outer_loss(w, a) + rank * a["a"].sum()

    return BilevelProblem(inner_loss, outer_loss)


def on_rank(rank: int, folder: str) -> None:
    store = FileStore(f"{folder}/store", 2)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=timedelta(minutes=5))
    inner, outer = point()
    mine = losses(rank)
    problem = BilevelProblem(mine.inner_loss, mine.outer_loss, reduce=average_across_ranks())
    grads = [estimator(problem, inner, outer) for estimator in ESTIMATORS]
    torch.save(grads, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="gloo's file store is not reliable there")
def test_two_ranks_get_the_hypergradient_of_the_mean_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # This process and a plain one of this file: a spawned function would have to be importable by the name that pytest gives it.
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # a process group puts another one around it
    other = subprocess.Popen([sys.executable, __file__, "1", str(tmp_path)])
    try:
        on_rank(0, str(tmp_path))
        assert other.wait(timeout=120) == 0
    finally:
        other.kill()
        if distributed.is_initialized():
            distributed.destroy_process_group()
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    inner, outer = point()
    parts = [losses(rank) for rank in range(2)]
    mean = BilevelProblem(
        blend(*((part.inner_loss, 0.5) for part in parts)), blend(*((part.outer_loss, 0.5) for part in parts))
    )
    for i, estimator in enumerate(ESTIMATORS):
        assert all(torch.equal(first[i][name], second[i][name]) for name in outer)
        torch.testing.assert_close(first[i], estimator(mean, inner, outer))


if __name__ == "__main__":
    on_rank(int(sys.argv[1]), sys.argv[2])
