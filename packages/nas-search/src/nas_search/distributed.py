"""Data-parallel runs: every rank has the whole model and a part of each batch, and gradients are averaged over the ranks.

The batch size of a run is that of all ranks together, so that a run is the same with any number of them: the ranks take equal
parts of each batch, draw the same architectures from equal generators, and draw the augmentation of the whole batch and apply
that of their own part. With one process nothing here does anything.

Gradients are averaged where an optimiser steps (`average_gradients`, one all-reduce of one flat buffer), and products of
losses inside of hypergradients by the hook of `nas_hypergrad` (`reduction`). ``DistributedDataParallel`` is not used: it hooks
into ``backward()``, and is never reached by ``torch.autograd.grad``, by ``functional_call`` on other weights than its own, by
second derivatives and by forward mode, of which the hypergradients are made; and the paths that are sampled leave a different
part of the weights without gradient at each step.

Batch normalisation takes the statistics of a rank's own part, as ``DistributedDataParallel`` has it (``SyncBatchNorm`` has no
second derivative and no forward mode); the running statistics are averaged over the ranks at the end of every epoch. Without
batch normalisation and dropout a run of several ranks computes what one process does, up to rounding.
"""

import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nas_hypergrad import average_across_ranks
from nas_search.errors import ConfigError, RankError

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

    from nas_augment import AugmentationPolicy, PolicySample

__all__ = [
    "agreed",
    "average_gradients",
    "average_statistics",
    "check_position",
    "from_first",
    "is_first",
    "joined",
    "launched",
    "mean",
    "part",
    "rank",
    "reduction",
    "restarted",
    "sample_part",
    "size",
    "wait_for_all",
]

Vector = dict[str, Tensor]
_POLL = 0.02
_PATIENCE = 1800.0
"""Seconds that a rank waits for the others; torch's own limit."""


def size() -> int:
    """The number of ranks; 1 where no process group was made."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """The number of this process among them, from 0."""
    return distributed.get_rank() if size() > 1 else 0


def is_first() -> bool:
    """Whether this process writes the files and speaks."""
    return rank() == 0


def launched() -> int:
    """How many processes ``torchrun`` started, whether they have joined or not; 1 where nothing started several."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def restarted() -> bool:
    """Whether ``torchrun --max-restarts`` started this process in place of one that failed on this machine."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Join the process group that ``torchrun`` describes in the environment; nothing where it starts one process.

    Args:
        device: as of a search; ``nccl`` communicates between GPUs, ``gloo`` between hosts.

    Raises:
        ConfigError: there are more ranks than GPUs.
        RankError: the ranks do not find each other.
    """
    if size() > 1 or launched() == 1:
        yield
        return
    cuda = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if cuda and local >= torch.cuda.device_count():
        raise ConfigError(
            f"rank {local} of this machine has no GPU, of which there are {torch.cuda.device_count()}; start as many processes "
            "(--nproc-per-node), or take --device cpu."
        )
    if cuda:
        torch.cuda.set_device(local)
    with _communicating():
        store, own, ranks = next(distributed.rendezvous("env://"))  # type: ignore[attr-defined]
        distributed.init_process_group(
            "nccl" if cuda else "gloo", store=_unused(store, own, ranks), rank=own, world_size=ranks
        )
    yield
    # Not after an error: whoever waits for a rank that is gone would wait for long.
    distributed.destroy_process_group()


def _unused(store: "Store", own: int, ranks: int) -> "Store":
    """The part of a store in which the processes that are alive now find each other, and none of an earlier attempt.

    torchrun keeps one store over all its restarts, so that a rank which starts before the others would find there the
    addresses of those that were killed, and fail to connect. The number of restarts does not tell attempts apart: torchrun
    counts them on each machine. So the first rank gives the attempt a name of its own, and tells it to whoever asks
    under a name that is as new.

    Raises:
        RuntimeError: not all ranks come in time.
    """
    name = uuid.uuid4().hex
    if own > 0:
        store.set(f"asking/{own}", name)
        _wait_for(store, f"told/{name}")
        attempt = store.get(f"told/{name}").decode()
        store.set(f"{attempt}/{own}", "")
        return _part_of(store, attempt)

    def tell(other: int) -> None:
        # Again and again: who asked first may be one that was killed.
        if store.check([f"asking/{other}"]):
            store.set(f"told/{store.get(f'asking/{other}').decode()}", name)

    for other in range(1, ranks):
        _wait_for(store, f"{name}/{other}", lambda other=other: tell(other))  # type: ignore[misc]
    return _part_of(store, name)


def _part_of(store: "Store", name: str) -> "Store":
    return distributed.PrefixStore(name, store)  # type: ignore[attr-defined]


def _wait_for(store: "Store", key: str, meanwhile: Callable[[], None] = lambda: None) -> None:
    """As the store's own waiting, but ended at once by a signal that asks to stop."""
    deadline = time.monotonic() + _PATIENCE
    while not store.check([key]):
        meanwhile()
        if time.monotonic() > deadline:
            raise RuntimeError(f"they did not all come within {_PATIENCE:g} seconds")
        time.sleep(_POLL)


@contextmanager
def _communicating() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RankError(
            f"rank {os.environ.get('RANK', '0')} lost the others: one of them ended, or cannot be reached ({reason[:120]}). "
            "What was saved last is whole; go on with --resume, or let torchrun --max-restarts do so."
        ) from error


def reduction() -> Callable[[Vector], Vector] | None:
    """The mean of a dictionary of tensors over the ranks, as `nas_hypergrad.BilevelProblem` takes it; None for one process."""
    if size() == 1:
        return None
    average = average_across_ranks()

    def reduce(vector: Vector) -> Vector:
        with _communicating():
            return average(vector)

    return reduce


def mean(values: Tensor) -> Tensor:
    """The mean of a tensor over the ranks."""
    reduce = reduction()
    return values if reduce is None else reduce({"": values})[""]


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace the gradients that parameters have by their means over the ranks, in one communication."""
    reduce = reduction()
    if reduce is None:
        return
    grads = {str(index): each.grad for index, each in enumerate(parameters) if each.grad is not None}
    for name, average in reduce(grads).items():
        grads[name].copy_(average)


def average_statistics(modules: Iterable[nn.Module]) -> None:
    """Replace the running statistics of batch normalisation by their means over the ranks.

    Running statistics are linear in those of the batches, so that it does not matter how often this is done. The variance
    between the means of the ranks' parts is left out, as it is between batches.
    """
    reduce = reduction()
    if reduce is None:
        return
    norms = [each for module in modules for each in module.modules() if isinstance(each, _BatchNorm)]
    buffers = [buffer for each in norms for buffer in (each.running_mean, each.running_var) if buffer is not None]
    for buffer, average in zip(
        buffers, reduce({str(i): buffer for i, buffer in enumerate(buffers)}).values(), strict=True
    ):
        buffer.copy_(average)


def agreed(flag: bool) -> bool:
    """Whether any rank says so, which all of them then know."""
    return flag if size() == 1 else bool(mean(_number(flag)) > 0)


def wait_for_all() -> None:
    """Go on when all ranks have come here."""
    agreed(False)


def check_position(position: int) -> None:
    """Refuse ranks that do not begin at the same step.

    Raises:
        RankError: they differ, because they do not read the same files.
    """
    if agreed(bool(mean(_number(position)) != position)):
        raise RankError(
            f"rank {rank()} begins at step {position} and another one elsewhere; the run folder must be on a file system that all "
            "ranks see."
        )


def from_first(text: str) -> str:
    """What the first rank says, to all."""
    if size() == 1:
        return text
    own = text.encode()
    with _communicating():
        length = _number(len(own)).long()
        distributed.broadcast(length, 0)
        content = torch.zeros(int(length), dtype=torch.uint8, device=length.device)
        if is_first():
            content.copy_(torch.tensor(list(own), dtype=torch.uint8))
        distributed.broadcast(content, 0)
    return bytes(content.tolist()).decode()


def part(count: int) -> slice:
    """Which of so many examples this rank has.

    Raises:
        ConfigError: they cannot be divided equally, or batch normalisation would see a single one.
    """
    ranks = size()
    if ranks > 1 and (count % ranks or count // ranks < 2):
        raise ConfigError(
            f"a batch of {count} cannot be divided among {ranks} ranks; its size is that of all ranks together: expected a "
            f"multiple of {ranks}, {2 * ranks} or more, and as many examples in each part of the data."
        )
    each = count // ranks
    return slice(rank() * each, (rank() + 1) * each)


def sample_part(policy: "AugmentationPolicy", count: int, generator: torch.Generator) -> "PolicySample":
    """Draw the augmentation of a whole batch, and take that of the `count` images which this rank has of it.

    So an image is augmented alike with any number of ranks, and the generators stay equal.
    """
    drawn = policy.sample(count * size(), generator=generator)
    return drawn if size() == 1 else drawn[part(len(drawn))]


def _number(value: float) -> Tensor:
    """A scalar where the process group communicates, ``()`` float64."""
    device = "cuda" if size() > 1 and distributed.get_backend() == "nccl" else "cpu"
    return torch.tensor(float(value), dtype=torch.float64, device=device)
