"""Diagnostics against dense matrices and counts by hand."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_augment import Policy
from nas_augment.fixed import Crop
from nas_search import ConfigError, ImageData, methods, search
from nas_search.diagnostics import CellDepth, HessianSpectrum, SkipConnections, depth, hutchinson, lanczos
from nas_search.loop import drive
from nas_search.optimizers import SGD
from nas_search.roles import Event
from nas_search.state import SearchState
from nas_search.streams import stream_seed
from nas_search.text_sources import fake_text
from nas_search.training import TrainState
from nas_spaces import SearchSpace, nas_bench_201
from nas_spaces.amended import amended_s1
from nas_spaces.chain import chain
from nas_spaces.darts import darts
from nas_spaces.darts_rnn import darts_rnn
from nas_spaces.recurrent import Dropouts

SPACE = nas_bench_201()


def symmetric(size: int) -> Tensor:
    square = torch.randn(size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return square + square.T


def start(size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_lanczos_with_as_many_products_as_rows_gives_every_eigenvalue() -> None:
    matrix = symmetric(12)
    values = lanczos(lambda v: matrix @ v, start(12), 12)
    torch.testing.assert_close(values, torch.linalg.eigvalsh(matrix), rtol=1e-10, atol=1e-10)


def test_lanczos_approaches_the_largest_eigenvalue_from_below() -> None:
    matrix = symmetric(60)
    largest = torch.linalg.eigvalsh(matrix)[-1]
    estimates = [lanczos(lambda v: matrix @ v, start(60), count)[-1] for count in (2, 5, 10, 20, 30)]
    assert all(a < b < largest + 1e-9 for a, b in pairwise(estimates))
    assert estimates[-1] > 0.999 * largest


def test_lanczos_keeps_its_basis_orthogonal() -> None:
    """Without reorthogonalisation a well separated eigenvalue comes back as copies of itself."""
    spectrum = torch.cat([torch.linspace(0, 1, 59, dtype=torch.float64), torch.tensor([1e4], dtype=torch.float64)])
    basis = torch.linalg.qr(symmetric(60)).Q
    matrix = basis @ torch.diag(spectrum) @ basis.T
    values = lanczos(lambda v: matrix @ v, start(60), 60)
    torch.testing.assert_close(values, torch.linalg.eigvalsh(matrix), rtol=1e-8, atol=1e-8)


def test_lanczos_stops_where_the_space_is_exhausted() -> None:
    calls = []

    def product(vector: Tensor) -> Tensor:
        calls.append(1)
        return 2.0 * vector

    values = lanczos(product, start(9), 9)
    assert values.tolist() == pytest.approx([2.0])
    assert len(calls) == 1
    assert lanczos(lambda v: 0 * v, start(3), 3).tolist() == [0.0]


def test_hutchinson_is_exact_for_a_diagonal_and_within_its_error_else() -> None:
    signs = torch.randint(0, 2, (400, 30), generator=torch.Generator().manual_seed(2)).double() * 2 - 1
    diagonal = torch.diag(torch.arange(30.0, dtype=torch.float64))
    trace, error = hutchinson(lambda v: diagonal @ v, signs)
    assert [trace.item(), error.item()] == pytest.approx([435.0, 0.0], abs=1e-9)
    matrix = symmetric(30)
    trace, error = hutchinson(lambda v: matrix @ v, signs)
    # The variance of one probe is twice the sum of the squares off the diagonal.
    spread = (2 * (matrix - torch.diag(matrix.diagonal())).square().sum()).sqrt() / 400**0.5
    assert error.item() == pytest.approx(spread.item(), rel=0.15)
    assert abs(trace - matrix.trace()) < 3 * error


def make(data: ImageData, small: dict[str, Any], method: Any) -> SearchState:
    return SearchState(SPACE, data, method, seed=3, **small | {"device": torch.device("cpu")})


def dense(state: SearchState) -> Tensor:
    """The Hessian of the validation loss in the logits, formed entry by entry, ``(30, 30)``."""
    images, labels = state.valid[0]

    def loss(logits: Tensor) -> Tensor:
        return F.cross_entropy(
            state.require_supernet()(state.normalize(images), logits.view(6, 5).softmax(dim=1)), labels
        )

    return torch.autograd.functional.hessian(loss, state.outer_parameters()["relaxation.logits"].detach().flatten())


def test_the_spectrum_is_that_of_the_dense_hessian(data: ImageData, small: dict[str, Any]) -> None:
    state = make(data, small, methods.darts())
    state.require_supernet().double()
    state.normalize.double()
    assert state.relaxation is not None
    state.relaxation.double()
    matrix = dense(state)
    figures = HessianSpectrum(iterations=30, probes=10).measure(state)
    assert figures["hessian_eigenvalue"] == pytest.approx(torch.linalg.eigvalsh(matrix)[-1].item(), rel=1e-8)
    generator = torch.Generator().manual_seed(stream_seed(3, "spectrum", 0))
    torch.randn(30, generator=generator)
    signs = torch.randint(0, 2, (10, 30), generator=generator).double() * 2 - 1
    expected = torch.stack([sign @ matrix @ sign for sign in signs])
    assert figures["hessian_trace"] == pytest.approx(expected.mean().item(), rel=1e-8)
    assert figures["hessian_trace_error"] == pytest.approx(expected.std().item() / 10**0.5, rel=1e-8)
    many = HessianSpectrum(iterations=1, probes=50).measure(state)
    assert abs(many["hessian_trace"] - matrix.trace().item()) < 4 * many["hessian_trace_error"]


def test_whoever_looks_changes_nothing(data: ImageData, small: dict[str, Any]) -> None:
    data = replace(data, policy=Policy((Crop(2),)))  # which draws from the generator of the search
    looked = search(
        SPACE, data, methods.darts(), observers=(HessianSpectrum(4, 2), CellDepth(), SkipConnections()), **small
    )
    alone = search(SPACE, data, methods.darts(), **small)
    added = {"hessian_eigenvalue", "hessian_trace", "hessian_trace_error", "depth", "skip_connections"}
    for with_figures, without in zip(looked.history, alone.history, strict=True):
        assert set(with_figures) - set(without) == added
        assert with_figures["train_loss"] == without["train_loss"]
    assert looked.architecture == alone.architecture


def test_dropout_draws_the_same_whether_somebody_looks_or_not(small: dict[str, Any]) -> None:
    space, text = darts_rnn(dropouts=Dropouts(inputs=0.2, h=0.25)), fake_text(8, count=400, time=4)
    looked = search(space, text, methods.darts(), observers=(HessianSpectrum(2, 2),), **small)
    alone = search(space, text, methods.darts(), **small)
    assert [record["train_loss"] for record in looked.history] == [record["train_loss"] for record in alone.history]
    state = SearchState(space, text, methods.darts(), seed=3, **small | {"device": torch.device("cpu")})
    assert HessianSpectrum(2, 2).measure(state) == HessianSpectrum(2, 2).measure(state)


def test_there_must_be_a_smooth_loss_to_look_at(data: ImageData, small: dict[str, Any]) -> None:
    seen: list[Event] = []

    def note(event: Event) -> None:
        seen.append(event)

    with pytest.raises(ConfigError, match=r"'gdas' draws a path.*relaxations that weight every option"):
        search(SPACE, data, methods.gdas(), observers=(note, HessianSpectrum()), **small)
    assert [event.step for event in seen] == [1]
    with pytest.raises(ConfigError, match="'random_nas' has no architecture parameters"):
        search(SPACE, data, methods.random_nas(), observers=(HessianSpectrum(),), **small)
    state = make(data, small, methods.snas())
    with pytest.raises(ConfigError, match=r"trains on all images \(train_share=1\)"):
        HessianSpectrum().check(state)  # before the search, as the command line does, and not after an epoch
    with pytest.raises(ConfigError, match="probes is 1; expected 2 or more"):
        HessianSpectrum(probes=1)
    with pytest.raises(ConfigError, match="iterations is 0"):
        HessianSpectrum(iterations=0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|", 3),
        ("|none~0|+|nor_conv_3x3~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|", 2),
        ("|none~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|nor_conv_3x3~2|", 0),  # nothing leads into node 1
        ("|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|none~2|", 0),  # nothing leads into the output
        ("|none~0|+|none~0|none~1|+|avg_pool_3x3~0|none~1|none~2|", 1),
    ],
)
def test_depth_of_cells_of_nas_bench_201(text: str, expected: int) -> None:
    assert depth(SPACE, SPACE.parse(text)) == expected


def test_depth_of_cells_of_darts_is_the_mean_of_both() -> None:
    space = darts()
    shallow = [(("skip_connect", 0), ("sep_conv_3x3", 1))] * 4
    deep: Any = [(("sep_conv_3x3", 0), ("skip_connect", node + 1)) for node in range(4)]
    assert depth(space, space.build({"normal": deep, "reduce": shallow})) == 2.5
    unused = [(("skip_connect", 0), ("skip_connect", node + 1)) for node in range(4)]
    unused[0] = (("skip_connect", 0), ("skip_connect", 1))
    without_second = [unused[0], *[(("skip_connect", 0), ("skip_connect", 2))] * 3]
    assert depth(space, space.build({"normal": without_second, "reduce": without_second})) == 2.0


def test_inputs_that_no_node_takes_are_no_cells_and_none_does_not_connect() -> None:
    space = darts(free=True)
    skips: Any = [
        (("skip_connect", 0), ("skip_connect", 0)),
        *[(("skip_connect", 0), ("skip_connect", n)) for n in (2, 3, 4)],
    ]
    assert depth(space, space.build({"normal": skips, "reduce": skips})) == 4.0
    cut: Any = [*skips[:3], (("none", 4), ("skip_connect", 0))]
    assert depth(space, space.build({"normal": cut, "reduce": cut})) == 3.0


def test_depth_of_other_spaces() -> None:
    generator = torch.Generator().manual_seed(0)
    spaces: list[SearchSpace] = [amended_s1(), chain(3, {"a": lambda i, o, s: torch.nn.Identity()})]
    assert [depth(space, space.sample(generator)) for space in spaces] == [4.0, 3.0]


def test_skip_connections_of_the_normal_cell_alone_are_counted(data: ImageData, small: dict[str, Any]) -> None:
    space = darts()
    state = SearchState(space, data, methods.darts(), seed=0, **small | {"device": torch.device("cpu"), "cells": 3})
    normal: Any = [(("skip_connect", 0), ("sep_conv_3x3", 1))] * 3 + [(("skip_connect", 0), ("skip_connect", 1))]
    reduce: Any = [(("skip_connect", 0), ("skip_connect", 1))] * 4
    record: dict[str, Any] = {"architecture": str(space.build({"normal": normal, "reduce": reduce}))}
    SkipConnections()(Event("epoch", "search", 1, 2, 0, 1, record, state))
    assert record["skip_connections"] == 5


def test_a_training_is_no_search(data: ImageData, small: dict[str, Any]) -> None:
    """The observers of a run are told of its trainings too, which have no architecture parameters."""
    training = TrainState(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, data.classes)),
        data.train,
        policy=Policy(),
        optimizer=SGD(),
        seed=0,
        device=torch.device("cpu"),
        epochs=1,
        batch_size=small["batch_size"],
    )
    drive(training, observers=(HessianSpectrum(), CellDepth(), SkipConnections()))
    added = {"hessian_eigenvalue", "depth", "skip_connections"}
    assert not added & set().union(*training.history)
