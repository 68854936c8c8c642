import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nas_spaces import InputError, TableError, darts_rnn, nas_bench_201
from nas_spaces.costs import operation_costs, places
from nas_spaces.latency import LatencyTable, measure_latency

SPACE = nas_bench_201()


CLOCK = [0.0]


class Slow(nn.Module):
    """Half a second at its first two calls, a tenth later, on `CLOCK`."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = torch.nn.Parameter(torch.zeros(()), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        self.calls.add_(1)
        CLOCK[0] += 0.5 if self.calls < 3 else 0.1
        return x


def test_the_median_of_the_passes_behind_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas_spaces.latency.time.perf_counter", lambda: CLOCK[0])
    network = Slow()
    assert measure_latency(network, (1, 2), repeats=3, warmup=2) == pytest.approx(0.1)
    assert measure_latency(network, (1, 2), repeats=3, warmup=0) == pytest.approx(0.5)
    assert network.calls == 0


class Watched(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))

    def forward(self, x: Tensor) -> Tensor:
        SEEN.extend(value.clone() for value in self.state_dict().values())
        return x


SEEN: list[Tensor] = []


def test_weights_on_the_meta_device_are_zero() -> None:
    with torch.device("meta"):
        network = Watched()
    # In this mode memory that nothing is written to is NaN.
    torch.use_deterministic_algorithms(True)
    try:
        measure_latency(network, (1, 2), repeats=1, warmup=0)
    finally:
        torch.use_deterministic_algorithms(False)
    assert len(SEEN) == 7
    assert all((value == 0).all() for value in SEEN)
    assert all(value.is_meta for value in network.state_dict().values())


def test_at_least_one_pass() -> None:
    with pytest.raises(InputError, match="at least one timed pass"):
        measure_latency(nn.Identity(), (1,), repeats=0)


def test_a_measured_table_prices_architectures(tmp_path: Path) -> None:
    table = LatencyTable.measure(SPACE, image=(3, 8, 8), channels=2, cells=1, repeats=1)
    assert set(table.seconds) == {place.key for place in places(SPACE, image=(3, 8, 8), channels=2, cells=1)}
    table.save(tmp_path / "cpu.json")
    again = LatencyTable.load(tmp_path / "cpu.json")
    assert again == table
    assert [file.name for file in tmp_path.iterdir()] == ["cpu.json"]
    costs = operation_costs(SPACE, measure=again, image=(3, 8, 8), channels=2, cells=1)
    a = SPACE.architecture([0, 0, 0, 3, 0, 0])
    longhand = sum(
        seconds for key, seconds in table.seconds.items() if key.startswith("nor_conv_3x3")
    )  # one cell per stage
    assert float(costs.of(SPACE.weights(a).double())) == pytest.approx(longhand)


def test_what_the_table_lacks_is_named() -> None:
    with pytest.raises(TableError, match="no 'skip_connect 16x32x32 16x32x32'.*0 entries"):
        operation_costs(SPACE, measure=LatencyTable({}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "holds list"),
        ("{", "cannot be read"),
        (json.dumps({"a": "1"}), "'a' is '1'"),
        (json.dumps({"a": -1}), "'a' is -1"),
        (json.dumps({"a": True}), "'a' is True"),
        ('{"a": NaN}', "'a' is nan"),
    ],
)
def test_bad_files(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "table.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(TableError, match=message):
        LatencyTable.load(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="cannot be read"):
        LatencyTable.load(tmp_path / "none.json")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "none" / "cpu.json", tmp_path / "folder"):
        with pytest.raises(TableError, match=f"cannot be written to {path}"):
            LatencyTable({"a": 1.0}).save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


def test_latencies_of_what_reads_tokens_are_measured() -> None:
    space = darts_rnn()
    a = space.sample(torch.Generator().manual_seed(0))
    network = space.network(a, classes=5, channels=4)
    assert measure_latency(network, torch.zeros(2, 3, dtype=torch.int64), repeats=1, warmup=0) > 0
