"""The one loop: it advances a run step by step, watches its figures, tells the observers, saves and stops."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch

from nas_search import distributed
from nas_search.errors import ConfigError, Interrupted, NonFiniteError
from nas_search.interruption import StopSignals
from nas_search.roles import Event, Observer
from nas_search.run_folder import Store
from nas_search.run_state import RunState
from nas_search.streams import stream_seed

__all__ = ["drive", "isolated_random_state"]

# How many steps an accelerator may run ahead before the host looks at their figures; on the CPU looking costs nothing.
_LOOK = 20


@contextmanager
def isolated_random_state(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global random state for a run, and put it back as it was."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(stream_seed(seed, "global"))
        yield


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
