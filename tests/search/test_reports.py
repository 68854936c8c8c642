import json
import math
import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from torch import nn

from nas_augment import Policy
from nas_search import ConfigError, RunFolderError, SearchResult, distributed, methods, search
from nas_search.data_sources import fake
from nas_search.reports import write_report
from nas_search.reports.chart import Line, Pen, _thinned
from nas_search.reports.words import number
from nas_spaces import chain, nas_bench_201

pytest.importorskip("matplotlib", reason="draws the charts: pip install 'nas-search[report]'")

ARCHITECTURE = nas_bench_201().parse("|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|")


def save(folder: Path, method: str = "gdas", **metrics: float) -> Path:
    history = tuple(
        {"epoch": epoch, "train_loss": 2.0 / epoch, "valid_accuracy": 0.1 * epoch, "seconds": 1.0}
        for epoch in (1, 2, 3)
    )
    SearchResult(ARCHITECTURE, Policy(), history=history, method=method, metrics=metrics).save(folder)
    return folder


@pytest.fixture(autouse=True)
def _drawn(drawn: None) -> None:
    """Every test here draws."""


def test_a_report_is_one_page_with_figures_curves_and_the_cell(tmp_path: Path) -> None:
    run = save(tmp_path / "run", test_accuracy=0.9753, train_epochs=5, random_test_accuracy=0.5)
    (run / "train.json").write_text(json.dumps({"history": [{"epoch": 1, "train_loss": 1.0}]}))
    page = write_report([run], run / "report.html").read_text()
    assert "97.53 % after 5 epochs" in page
    # Loss, accuracy as candidates and the best so far, seconds; the loss of the training.
    assert page.count("<title>") - 1 - page.count('class="cell"') == 5
    assert "nor_conv_3x3" in page
    assert "The training of the result" in page
    for outside in ("http:", "https:", "<script", "<link", "<img", "url("):
        assert outside not in page.replace("http://www.w3.org/2000/svg", "").replace("url(#", ""), outside
    for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        ElementTree.fromstring(svg)
    assert page == write_report([run], run / "report.html").read_text(), "equal runs have equal pages"


def test_the_report_of_a_search_in_ones_own_space_is_given_the_space(tmp_path: Path) -> None:
    space = chain(2, {"wide": lambda i, o, s: nn.Conv2d(i, o, 5, s, 2), "thin": lambda i, o, s: nn.Conv2d(i, o, 1, s)})
    search(
        space, fake("1x8x8", count=32), methods.random_nas(samples=2), epochs=1, batch_size=8, channels=2, out=tmp_path
    )
    with pytest.raises(RunFolderError, match=r"unknown search space 'chain'.*write_report\(\.\.\., spaces=\[space\]\)"):
        write_report([tmp_path], tmp_path / "r.html")
    page = write_report([tmp_path], tmp_path / "r.html", spaces=[nas_bench_201(), space]).read_text()
    (picture,) = re.findall(r'<figure class="cell">.*?</figure>', page, flags=re.DOTALL)
    assert "<svg" in picture
    assert re.search("wide|thin", picture.partition("<svg")[2])


def test_a_report_is_not_written_over_something_else(tmp_path: Path) -> None:
    run = save(tmp_path / "run")
    (run / "config.toml").write_text("kept")
    with pytest.raises(ConfigError, match=r"to be written to .*config.toml; expected a name that ends in .html"):
        write_report([run], run / "config.toml")
    assert (run / "config.toml").read_text() == "kept"


def test_several_runs_stand_side_by_side(tmp_path: Path) -> None:
    runs = [save(tmp_path / name, name, test_accuracy=0.5) for name in ("one", "two")]
    page = write_report(runs, tmp_path / "both.html").read_text()
    assert "2 runs compared" in page
    assert re.findall(r'<a href="#run-\d">(\w+)</a></th><td>([\d.]+ %)', page) == [
        ("one", "50.00 %"),
        ("two", "50.00 %"),
    ]
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
    assert "Validation accuracy (%) against parameters" in page
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


def test_what_a_page_refers_to_is_on_it_once(tmp_path: Path) -> None:
    runs = [save(tmp_path / name, name) for name in ("one", "two", "three")]
    page = write_report(runs, tmp_path / "r.html").read_text()
    identifiers = [each for each in re.findall(r' id="([^"]*)"', page) if each != "head"]
    assert len(identifiers) == len(set(identifiers)) > 3
    assert set(re.findall(r'href="#([^"]*)"', page)) <= set(identifiers)


def test_runs_that_differ_in_their_seed_alone_are_one_line_where_there_are_many(tmp_path: Path) -> None:
    runs = [
        save(tmp_path / f"{method}-seed{seed}", method) for method in ("darts", "gdas", "snas") for seed in range(3)
    ]
    page = write_report(runs, tmp_path / "r.html").read_text()
    assert re.findall(r"<title>(\S+ x3) from 2 to 0.667", page) == ["darts x3", "gdas x3", "snas x3"]


def numbers(chart: str, line: str) -> list[tuple[float, float]]:
    """The points of a line, in the units of the picture: y grows downwards."""
    path = re.search(rf'<title>{line}.*?<path d="([^"]*)"', chart, flags=re.DOTALL)
    assert path is not None
    return [(float(x), float(y)) for x, y in re.findall(r"[ML] ([\d.-]+) ([\d.-]+)", path[1])]


def test_a_chart_puts_its_values_where_they_belong() -> None:
    chart = Pen().chart([Line("a", [(1, 3.0), (2, -7.0), (3, math.nan), (4, 12.5)])], caption="y")
    (x1, y1), (x2, y2), (x4, y4) = numbers(chart, "a")
    width, height = map(float, re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', chart)[0])
    assert 0 < x1 < x2 < x4 < width
    assert 0 < y4 < y1 < y2 < height, "larger values stand higher"
    assert (y2 - y1) / (y1 - y4) == pytest.approx(10 / 9.5, rel=1e-3)
    assert (x4 - x2) / (x2 - x1) == pytest.approx(2, rel=1e-3)
    assert 'aria-label="y: a from 3 to 12.5"' in chart


@pytest.mark.parametrize("points", [[], [(1, math.nan)]])
def test_nothing_to_draw_draws_nothing(points: list[tuple[float, float]]) -> None:
    assert Pen().chart([Line("a", points)], caption="y") == ""


@pytest.mark.parametrize("value", [0.0, 1.0, -3e-9, 1e9])
def test_a_constant_line_can_be_drawn(value: float) -> None:
    (_, first), (_, second) = numbers(Pen().chart([Line("a", [(1, value), (2, value)])], caption="y"), "a")
    assert first == second


def test_labels_of_an_axis_have_the_digits_that_tell_them_apart() -> None:
    chart = Pen().chart([Line("a", [(1, 1.609438), (2, 1.609434)])], caption="entropy")
    labels = re.findall(r"text-anchor: end[^>]*>([^<]*)<", chart)
    assert len(labels) == len(set(labels)) > 2
    assert all(label.startswith("1.6094") for label in labels)
    coarse = Pen().chart([Line("a", [(1, 0.2), (2, 1.0)])], caption="loss")
    assert 0 < max(len(label) for label in re.findall(r"text-anchor: end[^>]*>([^<]*)<", coarse)) <= 4


def test_labels_that_would_cover_each_other_stand_apart_and_in_order() -> None:
    lines = [Line(f"line{index}", [(1, 1.0), (2, 1 + index / 1000)], index) for index in (2, 0, 3, 1)]
    chart = Pen().chart([*lines, Line("far", [(1, 1.0), (2, 9.0)])], caption="y")
    places = {name: float(y) for y, name in re.findall(r'y="([\d.]+)">(line\d|far)', chart)}
    assert sorted(places, key=places.__getitem__) == ["far", "line3", "line2", "line1", "line0"]
    rising = sorted(places.values())
    assert min(after - before for before, after in pairwise(rising)) > 13


def test_names_that_a_chart_cannot_write_are_written_as_they_are() -> None:
    name = "$x^2 <b> 網"
    chart = Pen().chart([Line(name, [(1, 1.0), (2, 3.0)]), Line("\x07text-0", [(1, 2.0)], quiet=True)], caption="y")
    assert ">$x^2 &lt;b&gt; 網 3<" in chart
    assert "<title>text-0 2</title>" in chart
    ElementTree.fromstring(chart)


def test_of_many_points_the_peaks_are_kept() -> None:
    points = [(float(x), 5.0 if x == 1234 else -5.0 if x == 3000 else math.sin(x)) for x in range(5000)]
    places = numbers(Pen().chart([Line("a", points)], caption="y"), "a")
    plain = numbers(Pen().chart([Line("a", [(0, -5.0), (4999, 5.0)])], caption="y"), "a")
    assert len(places) < 500
    assert min(y for _, y in places) == pytest.approx(plain[1][1])
    assert max(y for _, y in places) == pytest.approx(plain[0][1])


def test_settings_of_matplotlib_are_left_alone_and_do_not_show() -> None:
    import matplotlib

    before = Pen().chart([Line("a", [(1, 1.0), (2, 3.0)])], caption="y")
    with matplotlib.rc_context(
        {"axes.grid.axis": "x", "lines.linewidth": 9.0, "font.size": 30.0, "svg.fonttype": "path"}
    ):
        set_here = dict(matplotlib.rcParams)
        assert Pen().chart([Line("a", [(1, 1.0), (2, 3.0)])], caption="y") == before
        assert dict(matplotlib.rcParams) == set_here


def test_a_chart_has_the_colors_and_the_font_of_the_page_alone() -> None:
    lines = [Line(str(index), [(1, 1.0), (2, 1.0 + index)], index) for index in range(9)]
    chart = Pen().chart([*lines, Line("dots", [(1, 1.0)], kind="dots")], caption="y")
    assert set(re.findall(r"(?:fill|stroke): ([^;\"]+)", chart)) == {
        "none", "var(--soft)", "var(--fine)", "var(--card)", *(f"var(--s{index})" for index in range(8))
    }  # fmt: skip
    assert "font" not in chart
    assert "http" not in chart


def test_a_number_has_three_digits() -> None:
    values = (0.0, -0.0, 0.5, 2 / 3, 97.5301, 12345.6, 3.1e-5, -2e9)
    assert [number(value) for value in values] == ["0", "0", "0.5", "0.667", "97.5", "12,346", "3.1e-5", "-2e9"]


def test_of_several_ranks_the_first_alone_reads_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others may come here before the result is there."""
    monkeypatch.setattr(distributed, "is_first", lambda: False)
    assert write_report([tmp_path / "nothing yet"], tmp_path / "report.html") == tmp_path / "report.html"
    assert not list(tmp_path.iterdir())


def test_a_line_of_many_points_keeps_its_peaks_and_its_end() -> None:
    points = [(float(place), float(place % 7)) for place in range(599)] + [
        (599.0, 1.5)
    ]  # neither the least nor the largest of its stretch
    points[301] = (301.0, 50.0)
    thinned = _thinned(points)
    assert len(thinned) < 300
    assert (301.0, 50.0) in thinned
    assert thinned[-1] == points[-1]
