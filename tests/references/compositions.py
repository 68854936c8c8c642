"""What random compositions of a search are made of, in more than one test."""

from typing import Any

from nas_hypergrad import FirstOrder, Implicit, Unrolled, amended, identity, sgd
from nas_search.estimators import NeumannSeries, OneStep

HYPERGRADIENTS: dict[str, Any] = {
    "first": FirstOrder(),
    "one step": OneStep(),
    "neumann": NeumannSeries(1),
    "amended": Implicit(amended(0.1)),
    "identity": Implicit(identity(0.1)),
    "unrolled": Unrolled(sgd(0.1)),
}
