from pathlib import Path
from xml.etree import ElementTree

import networkx as nx
import pytest
import torch

from nas_spaces import nas_bench_201
from nas_spaces.drawing import save_png, to_svg

SVG = "{http://www.w3.org/2000/svg}"
SPACE = nas_bench_201()


def cells() -> "list[nx.DiGraph[int]]":
    generator = torch.Generator().manual_seed(0)
    return [SPACE.graph(SPACE.sample(generator)) for _ in range(10)] + [nx.DiGraph()]


def test_every_svg_is_well_formed_and_names_everything() -> None:
    for graph in cells():
        root = ElementTree.fromstring(to_svg(graph, "a cell"))
        assert root.findtext(f"{SVG}title") == "a cell"
        texts = sorted(element.text or "" for element in root.findall(f"{SVG}text"))
        labels = [data["label"] for _, data in graph.nodes(data=True)]
        assert texts == sorted(labels + [data["operation"] for _, _, data in graph.edges(data=True)])
        assert len(root.findall(f"{SVG}path")) == graph.number_of_edges()


def test_texts_are_escaped() -> None:
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_node(0, label="<in & out>")
    graph.add_node(1)
    graph.add_edge(0, 1, operation="</text><script>\x00")
    root = ElementTree.fromstring(to_svg(graph, '<b>"title"</b>\n'))
    assert root.findtext(f"{SVG}title") == '<b>"title"</b>'
    assert [element.text for element in root.findall(f"{SVG}text")] == ["</text><script>", "<in & out>", "1"]


def test_png_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for index, graph in enumerate([cells()[0], cells()[-1]]):
        path = tmp_path / f"{index}.png"
        save_png(graph, path, "$not a formula")
        assert path.read_bytes().startswith(b"\x89PNG")


def test_a_long_title_of_a_png_takes_several_lines(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    heights = []
    for title in ("short", "|operation_of_an_edge~0" * 20):
        save_png(cells()[0], tmp_path / "cell.png", title)
        heights.append(int.from_bytes((tmp_path / "cell.png").read_bytes()[20:24], "big"))
    assert heights[1] >= heights[0] + 3 * 16  # the edges of the picture stay where they are: it is not one line
