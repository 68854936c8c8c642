import json
import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from nas_augment import Policy
from nas_search import RunFolderError, SearchResult, distributed
from nas_search.reports import write_report
from nas_search.reports.chart import line_chart
from nas_spaces import nas_bench_201

ARCHITECTURE = nas_bench_201().parse("|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|")


def save(folder: Path, method: str = "gdas", **metrics: float) -> Path:
    history = tuple(
        {"epoch": epoch, "train_loss": 2.0 / epoch, "valid_accuracy": 0.1 * epoch, "seconds": 1.0}
        for epoch in (1, 2, 3)
    )
    SearchResult(ARCHITECTURE, Policy(), history=history, method=method, metrics=metrics).save(folder)
    return folder


def test_a_report_is_one_page_with_figures_curves_and_the_cell(tmp_path: Path) -> None:
    run = save(tmp_path / "run", test_accuracy=0.9753, train_epochs=5, random_test_accuracy=0.5)
    (run / "train.json").write_text(json.dumps({"history": [{"epoch": 1, "train_loss": 1.0}]}))
    page = write_report([run], run / "report.html").read_text()
    assert "97.53 % after 5 epochs" in page
    assert page.count("<polyline") == 4
    assert "nor_conv_3x3" in page
    assert "The training of the result" in page
    for outside in ("http:", "https:", "<script", "<link", "<img", "url("):
        assert outside not in page.replace("http://www.w3.org/2000/svg", "").replace("url(#", ""), outside
    for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        ElementTree.fromstring(svg)


def test_several_runs_stand_side_by_side(tmp_path: Path) -> None:
    runs = [save(tmp_path / name, name, test_accuracy=0.5) for name in ("one", "two")]
    page = write_report(runs, tmp_path / "both.html").read_text()
    assert "2 runs compared" in page
    assert "<th>one</th><th>two</th>" in page
    assert page.count('class="cell"') == 2


def test_names_are_escaped(tmp_path: Path) -> None:
    run = save(tmp_path / "<b>run", method="<script>alert(1)</script>")
    page = write_report([run, run], tmp_path / "r.html").read_text()
    assert "<script" not in page
    assert "<b>run" not in page
    assert "&lt;b&gt;run" in page


def test_the_front_of_accuracy_against_cost_is_shown(tmp_path: Path) -> None:
    history = tuple(
        {
            "epoch": epoch,
            "valid_accuracy": score,
            "candidates": [[f"<cell {epoch}>", score, cost], [f"<another {epoch}>", score - 0.1, cost]],
            "cost_unit": "parameters",
            "seconds": 1.0,
        }
        for epoch, (score, cost) in enumerate([(0.5, 1e5), (0.8, 3e5), (0.7, 4e5), (0.9, 9e5)], start=1)
    )
    run = tmp_path / "run"
    SearchResult(ARCHITECTURE, Policy(), history=history, method="bayesian_optimization", metrics={}).save(run)
    with (run / "events.jsonl").open("w") as file:
        file.writelines(json.dumps(record) + "\n" for record in history)
    page = write_report([run], run / "report.html").read_text()
    rows = re.findall(r"<tr><td>([\d,]+)</td><td>([\d.]+) %</td><td><code>(.*?)</code>", page)
    assert rows == [
        ("100,000", "50.00", "&lt;cell 1&gt;"),
        ("300,000", "80.00", "&lt;cell 2&gt;"),
        ("900,000", "90.00", "&lt;cell 4&gt;"),
    ]
    assert "parameters (thousands)" in page
    plain = write_report([save(tmp_path / "plain")], tmp_path / "plain.html").read_text()
    assert "against cost" not in plain


def test_damaged_files_are_said(tmp_path: Path) -> None:
    run = save(tmp_path / "run")
    (run / "train.json").write_text("{}")
    with pytest.raises(RunFolderError, match="has no history"):
        write_report([run], tmp_path / "r.html")
    (run / "train.json").unlink()
    (run / "events.jsonl").write_text("[1]\n")
    with pytest.raises(RunFolderError, match="not a JSON object"):
        write_report([run], tmp_path / "r.html")
    (run / "events.jsonl").write_text("{x}\n")
    with pytest.raises(RunFolderError, match="a line that is not JSON"):
        write_report([run], tmp_path / "r.html")
    (run / "result.json").write_text("{}")
    with pytest.raises(RunFolderError, match="not a whole result"):
        write_report([run], tmp_path / "r.html")


def test_a_run_that_has_not_finished_is_said(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(RunFolderError, match="has not finished"):
        write_report([tmp_path / "run"], tmp_path / "r.html")


def test_a_chart_puts_its_extremes_inside_the_frame() -> None:
    chart = line_chart({"a": [(1, 3.0), (2, -7.0), (3, math.nan), (4, 12.5)]}, x_label="epoch", y_label="y")
    points = re.search(r'points="([^"]+)"', chart)
    assert points is not None
    places = [tuple(map(float, point.split(","))) for point in points[1].split()]
    assert len(places) == 3
    assert all(0 <= x <= 460 and 0 <= y <= 250 for x, y in places)
    assert places[1][1] > places[0][1] > places[2][1], "larger values stand higher"


@pytest.mark.parametrize("points", [[], [(1, math.nan)]])
def test_nothing_to_draw_draws_nothing(points: list[tuple[float, float]]) -> None:
    assert line_chart({"a": points}, x_label="x", y_label="y") == ""


@pytest.mark.parametrize("value", [0.0, 1.0, -3e-9, 1e9])
def test_a_constant_line_can_be_drawn(value: float) -> None:
    assert "<polyline" in line_chart({"a": [(1, value), (2, value)]}, x_label="x", y_label="y")


def test_labels_of_an_axis_have_the_digits_that_tell_them_apart() -> None:
    chart = line_chart({"entropy": [(1, 1.609438), (2, 1.609434)]}, x_label="epoch", y_label="entropy")
    labels = re.findall(r'text-anchor="end">([^<]*)<', chart)
    assert len(labels) == len(set(labels)) > 2
    assert all(label.startswith("1.6094") for label in labels)
    coarse = line_chart({"loss": [(1, 0.2), (2, 1.0)]}, x_label="epoch", y_label="loss")
    assert max(len(label) for label in re.findall(r'text-anchor="end">([^<]*)<', coarse)) <= 4


def test_of_several_ranks_the_first_alone_reads_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others may come here before the result is there."""
    monkeypatch.setattr(distributed, "is_first", lambda: False)
    assert write_report([tmp_path / "nothing yet"], tmp_path / "report.html") == tmp_path / "report.html"
    assert not list(tmp_path.iterdir())
