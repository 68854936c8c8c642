"""A whole search: its state is made, driven by the one loop, and ended with the method's selector."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas_search import distributed
from nas_search.compatibility import check_arguments, check_saved
from nas_search.computation import Computation, deterministic
from nas_search.data import Data
from nas_search.describe import describe
from nas_search.engines import Engine
from nas_search.errors import ConfigError
from nas_search.loop import drive, isolated_random_state
from nas_search.measure import choose_device, peak_memory_mib
from nas_search.method import Method
from nas_search.mixed_space import settle, training_settings
from nas_search.model_file import save_model, told_of
from nas_search.result import Candidate, SearchResult
from nas_search.roles import Observer, Ranks
from nas_search.run_folder import RunFolder, Store
from nas_search.scoring import check_engine, scored_by
from nas_search.state import SearchState
from nas_spaces import ArchitectureError, SearchSpace

__all__ = ["complete", "search"]


def search(
    space: SearchSpace,
    data: Data,
    method: Method,
    *,
    epochs: int,
    batch_size: int,
    seed: int = 0,
    device: str = "auto",
    out: str | Path | None = None,
    resume: bool = False,
    observers: Sequence[Observer] = (),
    channels: int = 16,
    cells: int | None = None,
    computation: Computation = Computation(),
    engine: Engine | None = None,
) -> SearchResult:
    """Search an architecture, and whatever else the method learns.

    Equal arguments give equal results: bit for bit on a CPU with the same number of threads. The global random state is
    left as it was.

    Args:
        space: where architectures come from.
        data: labelled images, or text for a space of recurrent cells; its test part is not touched.
        method: what a step does; see `nas_search.methods`.
        epochs: passes over the training part.
        batch_size: images of a train batch and of a validation batch.
        seed: of all randomness.
        device: ``auto``, ``cpu`` or ``cuda``.
        out: the run folder, for checkpoints, events, the result and a network that is trained
            already; nothing is written when left out.
        resume: continue the run in `out`. The result is that of a run that was not interrupted.
        observers: told of every step and epoch, also of those of an autoencoder that the method needs and that is trained
            first, once (see `nas_search.pretraining`).
        channels: width of the supernet's first cell.
        cells: depth of the supernet, in the unit of the space; the space's own by default.
        computation: number format, and whether only deterministic algorithms are used; nothing is compiled.
        engine: scores the candidates of a black-box method in other processes, several at a time; this process does it when
            left out. The result is the same.

    Returns:
        The architecture with the policy to train it with, and how the search went.

    Raises:
        ConfigError: arguments that do not fit together.
        RunFolderError: `out` holds another run, cannot be written, or another process writes into it.
        CheckpointError: the checkpoint to resume from is damaged, or of another configuration.
        NonFiniteError: a loss became NaN or infinite.
        WorkerError: a process of the engine could not score a candidate.
        Interrupted: SIGINT or SIGTERM asked to stop; the state is saved in `out`.

    Example:
        >>> from nas_search import methods
        >>> from nas_search.data_sources import fake
        >>> from nas_spaces import nas_bench_201
        >>> result = search(
        ...     nas_bench_201(), fake("1x8x8"), methods.gdas(), epochs=1, batch_size=32, channels=4, cells=1, device="cpu"
        ... )
        >>> nas_bench_201().parse(str(result.architecture)) == result.architecture
        True
    """
    check_arguments(space, data, method, observers)
    if not 0 <= seed < 2**63:
        raise ConfigError(f"seed is {seed}; expected 0 or more, and less than 2**63.")
    folder = None if out is None else RunFolder(out)
    if folder is not None:
        folder.check(resume=resume)
    method.prepare(space, observers)
    state = SearchState(
        space,
        data,
        method,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        device=choose_device(device),
        channels=channels,
        cells=cells,
        computation=computation,
    )
    check_engine(engine, state)
    if folder is not None:
        check_saved(state)
    taken = nullcontext() if folder is None else folder.claimed(resume=resume)
    with taken, deterministic(computation.deterministic):
        return complete(state, folder, observers=observers, engine=engine)


def complete(
    state: SearchState, folder: RunFolder | None, *, observers: Sequence[Observer] = (), engine: Engine | None = None
) -> SearchResult:
    """Run a search to its end and select: the part of `search` that comes when everything has been checked.

    Args:
        state: a search at its beginning.
        folder: a claimed run folder; a checkpoint in it is continued. Nothing is written without one.
        observers: told of every step and epoch.
        engine: scores the candidates of a black-box method.

    Returns:
        The result, which is also saved. Metrics that a result in the folder has of the same architecture, such as those
        of a training, are kept, and so is the network of that training.

    Raises:
        CheckpointError, NonFiniteError, WorkerError, Interrupted, RunFolderError: as `search`.
    """
    store = None if folder is None else Store(folder.last, _fingerprint(state), folder.events)
    with isolated_random_state(state.seed, state.device):
        if store is not None:
            store.restore(state)
        with scored_by(engine, state):
            drive(state, observers=(*state.method.observers, *observers), store=store)
        result = _finish(state)
    if folder is None:
        return result
    trained = False  # anew, since the search ended
    if folder.result.exists():
        before = SearchResult.load(folder.root, state.space)
        if before.architecture == result.architecture:
            result = replace(result, metrics={**before.metrics, **result.metrics})
            trained = "train_epochs" in before.metrics and "trained_in_search" not in before.metrics
    if result.network is not None and not (trained and folder.model.exists()):
        save_model(folder.model, result.network, {**_build(state, result), "inherits": True})
    result.save(folder.root)
    return result


def _build(state: SearchState, result: SearchResult) -> dict[str, Any]:
    """What rebuilds the network, see `save_model`."""
    return {
        "space": state.space.name,
        "architecture": str(result.architecture),
        **state.sizes,
        **told_of(state.data, state.data.train.images),
    }


def _fingerprint(state: SearchState) -> dict[str, str]:
    """What must be equal for a checkpoint to be continued."""
    values = {
        "space": repr(state.space),
        "method": state.method,
        "data": state.data.fingerprint,
        "policy": state.policy.decide() if not list(state.policy.parameters()) else type(state.policy),
        "seed": state.seed,
        "epochs": state.epochs,
        "batch_size": state.batch_size,
        "channels": state.channels,
        "cells": state.cells,
    }
    values |= (
        {}
        if state.asked == Computation(deterministic=state.asked.deterministic)
        else {"precision": state.asked.precision}
    )
    return {key: describe(value) for key, value in values.items()}


def _finish(state: SearchState) -> SearchResult:
    method = state.method
    selected = method.selector(state)
    try:
        state.space.require(selected)
    except ArchitectureError as error:
        raise ConfigError(
            f"the selector {getattr(method.selector, '__name__', type(method.selector).__name__)} of method {method.name!r} gave "
            f"what is no architecture of the space: {error}"
        ) from error
    # That of the first rank: scores on different devices may differ in their last digits.
    architecture = state.space.parse(distributed.from_first(str(selected)))
    last = state.history[-1]
    figures = (
        "train_loss",
        "train_accuracy",
        "train_perplexity",
        "valid_loss",
        "valid_accuracy",
        "valid_perplexity",
        "entropy",
        "uniform_entropy",
        "skip_share",
        "unconverged",
        "kendall_tau",
    )
    metrics: dict[str, Any] = {name: last[name] for name in figures if name in last}
    metrics["computation"] = state.computation.record(state.device)
    if state.epoch < state.epochs:
        metrics["stopped_after"] = state.epoch
    scores = [score for text, score in state.archive if text == str(architecture)]
    if scores:
        metrics["selected_accuracy"] = max(scores)  # one that was scored again, by another training, has several
    if "skip_share" in metrics:  # of what was found, which need not be what the last epoch would have derived
        metrics["skip_share"] = state.skip_share(architecture)
    settled = settle(state.space, architecture, state.policy.decide())
    candidates, ranked_by = _candidates(state)
    if state.supernet is None and state.relaxation is None and candidates:
        # Of the network that was found: the last epoch has the accuracies of those that were tried last.
        metrics["valid_accuracy"] = candidates[0].score
    learned = settled.hyperparameters if state.hyperparameters is None else state.hyperparameters.learned(state.history)
    return SearchResult(
        architecture=settled.architecture,
        policy=settled.policy,
        hyperparameters=learned,
        history=tuple(state.history),
        method=method.name,
        network=None if method.network is None else method.network(state, architecture),
        seed=state.seed,
        metrics=metrics,
        candidates=candidates,
        ranked_by=ranked_by,
        seconds=sum(record["seconds"] for record in state.history),
        peak_memory_mib=peak_memory_mib(state.device),
    )


def _candidates(state: SearchState) -> tuple[tuple[Candidate, ...], str]:
    """What else the search might have ended with, and what the order is by."""
    selector = state.method.selector
    if not isinstance(selector, Ranks):
        return (), f"the selector {type(selector).__name__} compares no architectures"
    ranking = selector.rank(state)
    policy = state.policy.decide()
    return tuple(
        Candidate(settle(state.space, each, policy).architecture, score, training_settings(state.space, each))
        for each, score in ranking.entries
    ), ranking.of
