import pytest

from nas_spaces import ArchitectureError
from nas_spaces.vertex_text import format_vertices, read_vertices

NAMES = ("conv3x3-bn-relu", "pool")


def test_what_is_written_is_read() -> None:
    text = format_vertices(["pool", "conv3x3-bn-relu"], [(0,), (0, 1), (1, 2)])
    assert text == "pool~0+conv3x3-bn-relu~0~1+output~1~2"
    assert read_vertices(text, NAMES, 2) == ([1, 0], [[0], [0, 1], [1, 2]])
    assert read_vertices(" pool ~ 0 + output~1~0\n", NAMES, 2) == ([1], [[0], [0, 1]])
    assert read_vertices("output~0", NAMES, 0) == ([], [[0]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "position 0 .*: expected what vertex 1 is, one of output, conv3x3-bn-relu, pool, found the end"),
        ("conv3x3~0+output~1", "position 0 .* one of output, conv3x3-bn-relu, pool, found 'conv3x3~0"),
        ("pool+output~1", "position 4 .*: expected '~', found '.output~1'"),
        ("pool~1+output~1", "position 5 .*: expected another vertex that vertex 1 may read, one of 0, found '1"),
        ("pool~0~0+output~1", "position 7 .* found '0"),
        (
            "pool~0+pool~0~1~1+output~1",
            r"position 16 .*: expected another vertex that vertex 2 may read, one of , found '1",
        ),
        ("pool~0", r"position 6 .*: expected '\+', found the end"),
        ("pool~0+pool~1+pool~2+output~3", "position 14 .*: expected what vertex 3 is, one of output, found 'pool"),
        ("pool~0+output~1+pool~0", "position 15 .*: expected the end"),
        ("pool~0+output~2", "position 14 .*: expected another vertex that the output may read, one of 0, 1, found '2'"),
    ],
)
def test_errors_name_the_position_and_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        read_vertices(text, NAMES, 2)
