from functools import partial

from nas_search.describe import describe
from nas_search.optimizers import Adam
from nas_search.relaxations import HardGumbel
from nas_search.schedules import Constant, Linear


def test_values_are_written_as_they_would_be_made() -> None:
    assert describe(Adam(Constant(0.1))) == (
        "Adam(learning_rate=Constant(value=0.1), betas=(0.5, 0.999), weight_decay=0.001, clip=None, epsilon=1e-08)"
    )
    assert (
        describe(partial(HardGumbel, temperature=Linear(1.0, 0.5)))
        == "HardGumbel(temperature=Linear(start=1.0, end=0.5))"
    )
    assert describe({"a": [1, "x"]}) == "{'a': (1, 'x')}"


def test_functions_have_no_address() -> None:
    def mine() -> None: ...

    assert describe(mine).endswith("mine")
    assert "0x" not in describe([mine, len, HardGumbel])
