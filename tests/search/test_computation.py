import copy
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas_augment import Policy
from nas_search import ConfigError, Method, methods
from nas_search.compatibility import computation_of
from nas_search.computation import Computation, deterministic, placed
from nas_search.config import RunConfig
from nas_search.data_sources import fake
from nas_search.evaluation import SupernetAccuracy
from nas_search.loop import drive
from nas_search.optimizers import SGD
from nas_search.runs import run_search, run_training
from nas_search.schedules import Constant
from nas_search.state import SearchState
from nas_search.training import TrainState
from nas_spaces import nas_bench_201

CPU = torch.device("cpu")
SEEN: list[tuple[torch.dtype, bool]] = []


class Watched(nn.Module):
    """Notes the type of its logits, and whether deterministic algorithms are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.classifier = nn.Conv2d(1, 4, 3), nn.Linear(4, 4)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(images).mean(dim=(2, 3)))
        if not torch.compiler.is_compiling():
            SEEN.append((logits.dtype, torch.are_deterministic_algorithms_enabled()))
        return logits


def make(computation: Computation, **changes: Any) -> TrainState:
    SEEN.clear()
    settings: dict[str, Any] = {"epochs": 1, "batch_size": 32, "seed": 0, "device": CPU} | changes
    data = fake("1x8x8", count=64, classes=4)
    optimizer = SGD(Constant(0.1))
    return TrainState(Watched, data.train, policy=Policy(), optimizer=optimizer, computation=computation, **settings)


def test_autocast_computes_in_bfloat16_and_keeps_float32() -> None:
    half, full = make(Computation("bfloat16")), make(Computation())
    drive(half)
    assert [(torch.bfloat16, False)] * 2 == SEEN
    SEEN.clear()
    drive(full)
    assert [(torch.float32, False)] * 2 == SEEN
    for mine, theirs in zip(half.network.parameters(), full.network.parameters(), strict=True):
        assert mine.dtype == torch.float32
        assert not torch.equal(mine, theirs)
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0.02)  # bfloat16 has eight bits
    assert half.history[0]["train_loss"] == pytest.approx(full.history[0]["train_loss"], rel=0.01)


def test_what_is_evaluated_is_float32() -> None:
    state = make(Computation("bfloat16"), validate=lambda net: {"valid_accuracy": float(net(DATA).sum().detach())})
    drive(state)
    assert SEEN[-1][0] == torch.float32


DATA = torch.zeros(2, 1, 8, 8)


def test_precision_is_that_of_the_device_unless_it_is_said() -> None:
    assert [Computation().resolved(torch.device(name)) for name in ("cpu", "cuda")] == ["float32", "bfloat16"]
    assert Computation("float32").resolved(torch.device("cuda")) == "float32"
    with pytest.raises(ConfigError, match="precision is 'half'; expected auto, bfloat16 or float32"):
        Computation("half")


def test_deterministic_mode_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    cudnn = torch.backends.cudnn

    def settings() -> tuple[Any, ...]:
        flags = (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
        return (*flags, cudnn.deterministic, cudnn.benchmark, os.environ.get("CUBLAS_WORKSPACE_CONFIG"))

    before = settings()
    assert before == (False, False, False, False, None)

    def use() -> None:
        with deterministic(True):
            assert settings() == (True, False, True, False, ":4096:8")
            # An operation that has no deterministic algorithm is an error.
            torch.zeros(3).put_(torch.tensor([0, 0]), torch.ones(2))

    with pytest.raises(RuntimeError, match="put_ .*does not have a deterministic implementation"):
        use()
    assert settings() == before
    with deterministic(False):
        assert settings() == before
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    with deterministic(True):
        assert settings()[-1] == ":16:8"
    assert settings()[-1] == ":16:8"


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_compiled_training_is_that_of_the_same_network() -> None:
    compiled, plain = make(Computation("float32", compile=True)), make(Computation("float32"))
    drive(plain)
    SEEN.clear()
    drive(compiled)
    assert SEEN == []  # it ran compiled
    for mine, theirs in zip(compiled.network.parameters(), plain.network.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert list(compiled.network.state_dict()) == list(plain.network.state_dict())


def test_a_drop_path_that_grows_is_not_compiled() -> None:
    class Dropped(Watched):
        def drop_path(self, probability: float) -> None:
            raise AssertionError

    data = fake("1x8x8", count=64, classes=4)
    with pytest.raises(ConfigError, match=r"drop_path is 0\.2, .*compiled anew; leave out --compile, or .*drop_path=0"):
        TrainState(
            Dropped, data.train, policy=Policy(), optimizer=SGD(), epochs=1, batch_size=32, seed=0, device=CPU,
            drop_path=0.2, computation=Computation(compile=True),
        )  # fmt: skip


def searching(method: Method, computation: Computation) -> SearchState:
    return SearchState(
        nas_bench_201(), fake("1x8x8", count=64, classes=4), method, epochs=1, batch_size=16, seed=0, device=CPU, channels=4,
        cells=1, computation=computation,
    )  # fmt: skip


@pytest.mark.parametrize(
    "method", [methods.gdas(), methods.darts(order=2), methods.idarts()], ids=lambda each: each.name
)
def test_a_search_trains_in_bfloat16_and_evaluates_in_float32(method: Method) -> None:
    seen: list[torch.dtype] = []
    half, full = searching(method, Computation("bfloat16")), searching(method, Computation("float32"))
    half.require_supernet().register_forward_hook(lambda *given: seen.append(given[2].dtype))
    found, expected = half.advance(), full.advance()
    assert set(seen) == {torch.bfloat16}
    assert {value.dtype for value in found.values()} == {torch.float32}
    for name in ("train_loss", "valid_loss"):
        assert found[name] != expected[name]
        assert float(found[name]) == pytest.approx(float(expected[name]), rel=0.05)
    for name, parameter in half.outer_parameters().items():
        ours, theirs = parameter.grad, full.outer_parameters()[name].grad
        assert ours is not None
        assert theirs is not None
        assert parameter.dtype == ours.dtype == torch.float32
        assert torch.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0) > 0.8
    SupernetAccuracy(images=16)(half.space.sample(half.generator), half)
    assert seen[-1] == torch.float32


def test_a_search_takes_second_derivatives_in_float32_unless_it_is_told() -> None:
    cuda = torch.device("cuda")

    def precision(method: Method, asked: str = "auto") -> str:
        return computation_of(method, Computation(asked), cuda).precision

    relaxed = methods.augment_only("dada", control_variate=False)
    first = (methods.gdas(), methods.daas(), methods.dha(), methods.random_search(), methods.enas())
    second = (methods.darts(order=2), methods.idarts(), relaxed, methods.augment_only("dada"))
    assert {precision(each) for each in first} == {"bfloat16"}
    assert {precision(each) for each in second} == {"float32"}
    assert {precision(each, "bfloat16") for each in second} == {"bfloat16"}
    differences = methods.darts(order=2, central_difference=True)
    assert precision(differences) == "float32"
    with pytest.raises(
        ConfigError, match="bfloat16 rounds away; leave out central_difference, or take --precision float32"
    ):
        precision(differences, "bfloat16")
    with pytest.raises(ConfigError, match="no search does: .* Compile the training: nascli train RUN --compile"):
        searching(methods.gdas(), Computation(compile=True))


def test_runs_record_how_they_computed(tmp_path: Path) -> None:
    config = RunConfig(
        method="random_search", data="fake:1x8x8", epochs=1, train_epochs=1, batch_size=32, channels=2, device="cpu",
        settings={"candidate_epochs": 1},
    )  # fmt: skip
    record = run_search(replace(config, deterministic=True, precision="bfloat16"), tmp_path / "run")
    plain = {"device": "cpu", "precision": "bfloat16", "compile": False, "channels_last": True, "deterministic": True}
    assert record["metrics"]["computation"] == plain
    assert record["metrics"]["train_computation"] == plain | {"workers": 0}
    assert RunConfig.from_toml(tmp_path / "run" / "config.toml").precision == "bfloat16"
    trained = run_training(tmp_path / "run", epochs=1, computation=Computation("float32", deterministic=True))
    assert trained["computation"] == plain | {"precision": "float32", "workers": 0}
    # As the run's configuration says, if it is not said otherwise.
    assert run_training(tmp_path / "run", epochs=1)["computation"] == plain | {"workers": 0}
    assert not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(ConfigError, match="precision is 'half'; expected auto, bfloat16 or float32"):
        replace(config, precision="half")


@pytest.mark.parametrize("channels", [1, 4, 12])
def test_strided_convolutions_of_one_pixel_have_right_gradients_in_channels_last(channels: int) -> None:
    """In double precision the same convolution, contiguous and strided, is the reference; oneDNN's own dies of few channels."""
    convolution = nn.Conv2d(channels, 8, 1, stride=2, bias=False)
    reference = copy.deepcopy(convolution).double()
    images = torch.randn(4, channels, 7, 7)
    network = placed(nn.Sequential(convolution), torch.device("cpu"))
    for _ in range(20):
        network.zero_grad()
        out = network(images.contiguous(memory_format=torch.channels_last))
        out.square().sum().backward()
    expected = reference(images.double())
    expected.square().sum().backward()
    assert reference.weight.grad is not None
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(convolution.weight.grad, reference.weight.grad.float(), rtol=1e-4, atol=1e-4)


def test_a_copy_of_a_placed_network_thins_its_pixels_once() -> None:
    network = placed(nn.Sequential(nn.Conv2d(4, 4, 1, stride=2)), torch.device("cpu"))
    again = placed(copy.deepcopy(network), torch.device("cpu"))
    assert again(torch.zeros(1, 4, 8, 8)).shape == (1, 4, 4, 4)
