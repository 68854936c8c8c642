"""Neural architecture search spaces, their supernets and their tabular benchmarks.

Read `space` first: what every search space is. `catalog` finds spaces by name, `testing` checks your own.
"""

from nas_spaces.allegro import allegro
from nas_spaces.amended import amended_s1, amended_s2
from nas_spaces.architecture import Architecture
from nas_spaces.chain import Ends, Layer, chain
from nas_spaces.choices import Choices
from nas_spaces.counting import Counts, count
from nas_spaces.darts import darts
from nas_spaces.darts_rnn import darts_rnn
from nas_spaces.errors import ArchitectureError, InputError, SpacesError, TableError, UnknownSpaceError, WeightsError
from nas_spaces.isomorphism import canonical_hash
from nas_spaces.mobile import mobile
from nas_spaces.nas_bench_1shot1 import nas_bench_1shot1
from nas_spaces.nas_bench_101 import nas_bench_101
from nas_spaces.nas_bench_201 import nas_bench_201, nas_bench_201_small
from nas_spaces.single import single
from nas_spaces.space import RowwiseSpace, SearchSpace
from nas_spaces.supernet import Drawn, SharedOperation, Supernet
from nas_spaces.tables import Table, load_table, space_of_table

__all__ = [
    "Architecture",
    "ArchitectureError",
    "Choices",
    "Counts",
    "Drawn",
    "Ends",
    "InputError",
    "Layer",
    "RowwiseSpace",
    "SearchSpace",
    "SharedOperation",
    "SpacesError",
    "Supernet",
    "Table",
    "TableError",
    "UnknownSpaceError",
    "WeightsError",
    "allegro",
    "amended_s1",
    "amended_s2",
    "canonical_hash",
    "chain",
    "count",
    "darts",
    "darts_rnn",
    "load_table",
    "mobile",
    "nas_bench_1shot1",
    "nas_bench_101",
    "nas_bench_201",
    "nas_bench_201_small",
    "single",
    "space_of_table",
]
