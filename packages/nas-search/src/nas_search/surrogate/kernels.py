"""How alike two architectures are: features of an architecture, and a kernel over them."""

import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor

from nas_search.errors import ConfigError
from nas_spaces import Architecture, SearchSpace, encodings
from nas_spaces.chain import ChainSpace

if TYPE_CHECKING:
    import networkx as nx
    from gpytorch.kernels import Kernel

__all__ = ["ArchitectureKernel", "BySpace", "Embedding", "Hamming", "Paths", "WeisfeilerLehman", "botorch_import"]


class Embedding(NamedTuple):
    """Architectures as a Gaussian process takes them.

    Attributes:
        inputs: ``(architectures, columns)`` float64.
        covariance: makes the kernel over the columns where the inputs will stand; at most 1, and its hyper-parameters are
            learned by the process.
    """

    inputs: Tensor
    covariance: Callable[[Sequence[int]], "Kernel"]


class ArchitectureKernel(Protocol):
    """How alike two architectures are."""

    def embed(self, space: SearchSpace, architectures: Sequence[Architecture]) -> Embedding:
        """All architectures that the process will be asked about, those observed and those that may be suggested."""
        ...


@dataclass(frozen=True)
class Hamming:
    """``exp(-mean_r [a_r != b_r] / l_r)``: the rows in which two architectures differ, each with a length scale of its own.

    Example:
        >>> from nas_spaces import nas_bench_201
        >>> space = nas_bench_201()
        >>> Hamming().embed(space, [space.architecture([0, 1, 2, 3, 4, 0])]).inputs.tolist()
        [[1.0, 2.0, 3.0, 4.0, 5.0, 1.0]]
    """

    def embed(self, space: SearchSpace, architectures: Sequence[Architecture]) -> Embedding:
        """What each row takes as a code whose equality is all that counts.

        Rows that take nothing have the code 0; rows that take several options a code for each combination.
        """
        codes = [[_code(taken) for taken in architecture.options] for architecture in architectures]
        return Embedding(torch.tensor(codes, dtype=torch.float64), _categorical)


def _categorical(columns: Sequence[int]) -> "Kernel":
    with botorch_import():
        from botorch.models.kernels import CategoricalKernel

    return CategoricalKernel(ard_num_dims=len(columns), active_dims=tuple(columns))


def _code(taken: Sequence[int]) -> int:
    code = 0
    for option in sorted(taken):
        # More options in a row than this would make two combinations alike; the widest space has a few dozen.
        code = code * 1000 + option + 1
    return code


@dataclass(frozen=True)
class WeisfeilerLehman:
    """A Gaussian of the distance of Weisfeiler-Lehman histograms: the subtrees that two cells have in common.

    Level h counts the subtrees of height h in the graph of a cell (Shervashidze et al., JMLR 2011; for architectures Ru et
    al., "Interpretable neural architecture search via Bayesian optimisation with Weisfeiler-Lehman kernels", ICLR 2021).
    As there, operations are vertices, also where a space has them on its edges; so level 0 counts the operations, and level 1
    what stands beside each. The histogram of each level has length 1, and the levels stand side by side: cells that differ by
    the names of their nodes alone are the same.

    Args:
        depth: H, the height of the largest subtrees.

    Differs from the paper:
        1. A Gaussian of the distance of the histograms, with a learned length scale, in place of their inner product.
        2. H is given, and not chosen by the likelihood.
    """

    depth: int = 2

    def __post_init__(self) -> None:
        if self.depth < 1:
            raise ConfigError(f"depth of the Weisfeiler-Lehman kernel is {self.depth}; expected 1 or more.")

    def embed(self, space: SearchSpace, architectures: Sequence[Architecture]) -> Embedding:
        """See `ArchitectureKernel`."""
        return _places(self.histograms(space, architectures))

    def histograms(self, space: SearchSpace, architectures: Sequence[Architecture]) -> Tensor:
        """The histograms of all levels side by side, ``(architectures, subtrees)`` float64."""
        histograms = [self._histograms(space, architecture) for architecture in architectures]
        levels = [_histogram_matrix([each[level] for each in histograms]) for level in range(self.depth + 1)]
        return torch.cat([level / level.norm(dim=1, keepdim=True) for level in levels], dim=1)

    def _histograms(self, space: SearchSpace, architecture: Architecture) -> list[Counter[Hashable]]:
        """One histogram a level, of the hashes of networkx."""
        import networkx as nx

        graph = _operations(space.graph(architecture))
        with warnings.catch_warnings():
            # Hashes of other versions of networkx are other ones; these are compared among themselves alone.
            warnings.filterwarnings("ignore", "The hashes produced for directed graphs changed", UserWarning)
            hashes = nx.weisfeiler_lehman_subgraph_hashes(
                graph, node_attr="colour", iterations=self.depth, include_initial_labels=True
            )
        return [Counter(each[level] for each in hashes.values()) for level in range(self.depth + 1)]


def _operations(graph: "nx.DiGraph[Any]") -> "nx.DiGraph[Any]":
    """The graph of a cell with its operations as vertices, and ``colour`` of each what it is.

    Operations on edges become vertices between what they connect. Vertices that have neither a role, such as input and
    output, nor an operation only add up, and what enters them is connected with what leaves them.
    """
    import networkx as nx

    found: nx.DiGraph[Any] = nx.DiGraph()
    # Of a multigraph an edge has a key as well.
    edges: Callable[[Any], Any] = partial(graph.out_edges, keys=True) if graph.is_multigraph() else graph.out_edges

    @cache
    def beyond(vertex: Any) -> frozenset[Any]:
        """What a connection into a vertex leads to."""
        colour = f"{graph.nodes[vertex].get('role', '')} {graph.nodes[vertex].get('operation', '')}"
        if colour == " ":
            return after(vertex)
        found.add_node(vertex, colour=colour)
        found.add_edges_from((vertex, other) for other in after(vertex))
        return frozenset({vertex})

    @cache
    def after(vertex: Any) -> frozenset[Any]:
        """What leaves a vertex."""
        ways: frozenset[Any] = frozenset()
        for edge in edges(vertex):
            if operation := graph.edges[edge].get("operation", ""):
                found.add_node(edge, colour=operation)
                found.add_edges_from((edge, other) for other in beyond(edge[1]))
                ways |= {edge}
            else:
                ways |= beyond(edge[1])
        return ways

    for vertex in graph:
        beyond(vertex)
    return found


@dataclass(frozen=True)
class Paths:
    """A Gaussian of the distance of path encodings: which sequences of operations lead from input to output.

    The path encoding is BANANAS' (White et al., AAAI 2021), of length 1 here.
    """

    def embed(self, space: SearchSpace, architectures: Sequence[Architecture]) -> Embedding:
        """See `ArchitectureKernel`."""
        ways = [Counter[Hashable](encodings.paths(space.graph(each))) for each in architectures]
        matrix = _histogram_matrix(ways)
        # A cell without any path is at the origin.
        return _places(matrix / matrix.norm(dim=1, keepdim=True).clamp_min(1.0))


@dataclass(frozen=True)
class BySpace:
    """`WeisfeilerLehman`; of a chain, whose layers differ by nothing but their place, `Hamming`."""

    def embed(self, space: SearchSpace, architectures: Sequence[Architecture]) -> Embedding:
        """See `ArchitectureKernel`."""
        kernel = Hamming() if isinstance(space, ChainSpace) else WeisfeilerLehman()
        return kernel.embed(space, architectures)


def _places(features: Tensor) -> Embedding:
    """A Gaussian of the distance of features; the inputs are the places of the architectures in the table of distances."""

    def covariance(columns: Sequence[int]) -> "Kernel":
        with botorch_import():
            from nas_search.surrogate.distance_kernel import DistanceKernel

        products = features @ features.T
        lengths = products.diagonal()
        squared = (lengths[:, None] + lengths - 2 * products).clamp_min(0.0)
        return DistanceKernel(squared, columns)

    return Embedding(torch.arange(len(features), dtype=torch.float64)[:, None], covariance)


def _histogram_matrix(histograms: Sequence[Counter[Hashable]]) -> Tensor:
    """Counts ``(histograms, keys)`` float64; the keys in the order in which they are met."""
    places: dict[Hashable, int] = {}
    for histogram in histograms:
        for key in histogram:
            places.setdefault(key, len(places))
    matrix = torch.zeros(len(histograms), max(1, len(places)), dtype=torch.float64)
    for row, histogram in enumerate(histograms):
        for key, number in histogram.items():
            matrix[row, places[key]] = number
    return matrix


@contextmanager
def botorch_import() -> Iterator[None]:
    """linear_operator, which botorch needs, still compiles with torch.jit when it is imported, deprecated in torch 2.15."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*torch\.jit\.", FutureWarning)
        yield
