"""The one loop: it advances a run step by step, watches its figures, tells the observers, saves and stops.

`search` makes the state of a search, drives it, and ends it with the method's selector.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from nas_search import distributed
from nas_search.compatibility import check_arguments, check_saved
from nas_search.computation import Computation, deterministic
from nas_search.data import Data
from nas_search.describe import describe
from nas_search.engines import Engine
from nas_search.errors import ConfigError, Interrupted, NonFiniteError
from nas_search.interruption import StopSignals
from nas_search.measure import choose_device, peak_memory_mib
from nas_search.method import Method
from nas_search.mixed_space import settle, training_settings
from nas_search.model_file import save_model, told_of
from nas_search.result import Candidate, SearchResult
from nas_search.roles import Event, Observer, Ranks
from nas_search.run_folder import RunFolder, Store
from nas_search.run_state import RunState
from nas_search.scoring import check_engine, scored_by
from nas_search.state import SearchState
from nas_search.streams import stream_seed
from nas_spaces import ArchitectureError, SearchSpace

__all__ = ["complete", "drive", "isolated_random_state", "search"]

# How many steps an accelerator may run ahead before the host looks at their figures; on the CPU looking costs nothing.
_LOOK = 20


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


@contextmanager
def isolated_random_state(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global random state for a run, and put it back as it was."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(stream_seed(seed, "global"))
        yield


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


def drive(state: RunState, *, observers: Sequence[Observer] = (), store: Store | None = None) -> None:
    """Run to the end from wherever the state is.

    With a store the state is saved after the first epoch and the last, after those between as often as `Store.save_if_due`
    does, and when SIGINT or SIGTERM asks to stop.

    Raises:
        NonFiniteError: a figure became NaN or infinite; the checkpoint before is kept.
        Interrupted: stopped on request, after saving.
        RunFolderError: saving failed; what was saved before is intact.
    """
    look = 1 if state.device.type == "cpu" else _LOOK
    with StopSignals(active=store is not None) as stop:
        while not state.finished:
            state.start_clock()  # what observers and saving took is of no epoch
            while state.step < state.steps:
                rate = state.learning_rate
                _own_randomness(state)
                state.meter.add(state.step, state.advance())
                state.step += 1
                looking = state.step % look == 0 or state.step == state.steps
                # Ranks agree on stopping, and do so where they wait for each other anyway.
                if looking or (stop.requested and distributed.size() == 1):
                    _check(state, rate, store)
                    _tell(observers, state, "step")
                    if state.step < state.steps and distributed.agreed(stop.requested):
                        _stop(state, store)
            distributed.average_statistics(state.modules().values())
            record = state.close_epoch()
            _tell(observers, state, "epoch", record)
            if store is not None:
                (store.save if state.finished else store.save_if_due)(state)
            if distributed.agreed(stop.requested):
                _stop(state, store)


def _own_randomness(state: RunState) -> None:
    """Ranks after the first draw their dropout from streams of their own, which need not be saved."""
    if not distributed.is_first():
        torch.manual_seed(stream_seed(state.seed, "global", distributed.rank(), state.position))


def _check(state: RunState, rate: float | None, store: Store | None) -> None:
    bad = state.meter.flush()
    if bad is None:
        return
    kept = (
        f"the last good checkpoint is {store.checkpoint}"
        if store and store.checkpoint.exists()
        else "no checkpoint yet"
    )
    at = "" if rate is None else f" at learning rate {rate:.4g}"
    raise NonFiniteError(
        f"the loss or its gradient became NaN or infinite in epoch {state.epoch + 1}, step {bad + 1} of the "
        f"{state.name}{at}; {kept}. {state.remedy}"
    )


def _stop(state: RunState, store: Store | None) -> None:
    assert store is not None
    _check(state, state.learning_rate, store)
    distributed.average_statistics(state.modules().values())
    state.tick()
    store.save(state)
    at = f"in epoch {state.epoch + 1} of {state.epochs}, after step {state.step}"
    if state.finished:
        at = f"after the last epoch, {state.epoch} of {state.epochs}"
    raise Interrupted(f"stopped {at} of the {state.name}; saved in {store.checkpoint}.")


def _tell(
    observers: Sequence[Observer],
    state: RunState,
    kind: Literal["step", "epoch"],
    record: dict[str, object] | None = None,
) -> None:
    if not observers:
        return
    if record is None:
        state.tick()
        record = dict[str, object](state.figures())
        if state.images:
            record["images_per_second"] = state.images / max(state.seconds, 1e-9)
    event = Event(kind, state.name, state.epoch, state.epochs, state.step, state.steps, record, state)
    for observer in observers:
        before = dict(record)
        observer(event)
        if kind == "epoch":
            _check_added(observer, before, record)


def _check_added(observer: Observer, before: dict[str, object], record: dict[str, object]) -> None:
    """What observers add goes into ``events.jsonl`` and the checkpoints."""
    for key, value in record.items():
        if key not in before or before[key] is not value:
            try:
                json.dumps({key: value}, allow_nan=False)
            except (TypeError, ValueError) as error:
                raise ConfigError(
                    f"observer {getattr(observer, '__name__', type(observer).__name__)} added {key!r}, {type(value).__name__} "
                    f"{value!r:.60}, to the record of an epoch; expected what JSON has ({error}): .item() or .tolist() of a "
                    "tensor, None in place of a number that is not finite."
                ) from error
