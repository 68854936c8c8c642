"""The sparse codes of ISTA-NAS."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nas_search.errors import ConfigError
from nas_search.relaxations.budget import Budget, Entry, keep_within
from nas_search.relaxations.lasso import recover
from nas_search.roles import ChoiceWeights, Relaxation
from nas_search.run_state import check_positive
from nas_spaces import Choices

__all__ = ["SparseCode"]


class SparseCode(Relaxation):
    """Two inputs a node, recovered from a compressed measurement ``b = A x`` of all its candidates (ISTA-NAS).

    Yang, Li, You, Wang, Qian and Lin, "ISTA-NAS: Efficient and Consistent Neural Architecture Search by Sparse Coding",
    NeurIPS 2020. For each node `x` has an entry for every operation other than ``none`` on every edge that enters it, `A`
    is fixed with entries from U[0, 1), and `b` is learned. `recover` solves

    ``x* = argmin_x |A x - b|^2 / 2 + penalty |x|_1``

    and keeps the entries S of largest magnitude. From then on only these are evaluated, with the weights
    ``b^T A_S - x^T E_S``, ``E = A^T A - I``, which is ``x_S + A_S^T (b - A x_S)``: the gradient of `b` passes through the
    first term, and `x` is held constant.

    Args:
        choices: the decisions of a space of cells, or of a chain of layers.
        sparsity: entries that a node keeps; as many as it has edges where these are fewer.
        measurements: length of `b`; when left out the number of operations other than ``none``, 7 in the DARTS space.
        penalty: of the LASSO.
        scale: standard deviation of the initial `b`.

    Differs from the paper:
        1. The entries kept are on different edges, the best of each, as an architecture needs them; the released code
           may keep two on one.
        2. The LASSO is solved by our `nas_search.relaxations.lasso`; the released code hands it to MOSEK.
        3. In a space where every edge takes an operation, such as NAS-Bench-201, the edges that are not kept are ``none``.
        4. In a chain of layers, such as ``mobile``, a layer is a node with one edge, and keeps one operation. DHA has results
           in a space of this kind, and no word on its codes.

    Raises:
        ConfigError: a space with rows that are neither edges into a node nor layers of a chain.
    """

    independent = False  # a code says what is kept, and nothing of the rest

    def __init__(
        self,
        choices: Choices,
        sparsity: int = 2,
        measurements: int | None = None,
        penalty: float = 1e-5,
        scale: float = 1e-3,
    ) -> None:
        super().__init__()
        nodes = _layers(choices) or choices.nodes
        others = sorted(set(range(len(choices))) - {row for node in nodes for row in node})
        if others:
            raise ConfigError(
                f"sparse codes choose among the edges that enter a node; in this space rows {others[0]} to {others[-1]} are "
                "no such edges. Use a space of cells without rows for inputs, such as darts or nas_bench_201, or a chain."
            )
        check_positive(sparsity=sparsity)
        if not 0 < penalty < math.inf:
            raise ConfigError(f"penalty is {penalty}; expected a finite number above 0.")
        self.choices, self.sparsity, self.penalty = choices, sparsity, penalty
        self.pairs = [
            [(row, option) for row in node for option, name in enumerate(choices.options[row]) if name != "none"]
            for node in nodes
        ]
        longest = max(map(len, self.pairs))
        count = measurements or max(sum(name != "none" for name in names) for names in choices.options)
        exists = torch.tensor([[index < len(pairs) for index in range(longest)] for pairs in self.pairs])
        self.matrix: Tensor
        self.codes: Tensor
        self.kept: Tensor
        self.frozen: Tensor
        self.anchor: Tensor
        self.register_buffer("matrix", torch.rand(len(self.pairs), count, longest) * exists[:, None])
        self.measurements = nn.Parameter(scale * torch.randn(len(self.pairs), count))
        self.register_buffer("codes", torch.zeros(len(self.pairs), longest))
        self.register_buffer("kept", torch.zeros(len(self.pairs), longest, dtype=torch.bool))
        self.register_buffer("frozen", torch.zeros(len(self.pairs), dtype=torch.bool))
        self.register_buffer("anchor", torch.zeros(len(self.pairs), count))
        self.recover()

    @torch.no_grad()
    def recover(self, freeze: float | None = None, budgets: Sequence[Budget] = ()) -> None:
        """Solve for the codes of the present measurements and choose what is kept.

        Args:
            freeze: a node whose codes have moved by no more than this since the last time (2-norm) keeps them, and its
                measurements, for good; none does when left out.
            budgets: what the options that are kept may cost together; see `nas_search.relaxations.budget`.

        Raises:
            ConvergenceError: the LASSO was not solved.
            ConfigError: nothing is within the budgets.
        """
        solved = recover(self.matrix.double(), self.measurements.double(), self.penalty).to(self.codes)
        solved = torch.where(self.frozen[:, None], self.codes, solved)
        still = torch.zeros_like(self.frozen)
        if freeze is not None:
            still = ((solved - self.codes).norm(dim=1) <= freeze) & ~self.frozen
        self.codes.copy_(solved)
        self.anchor[still] = self.measurements[still]
        self.frozen |= still
        kept = self.within(budgets)
        self.kept.zero_()
        for node, indices in enumerate(kept):
            self.kept[node, indices] = True

    def within(self, budgets: Sequence[Budget]) -> list[list[int]]:
        """What is to be kept of the present codes, by index of each node's pairs.

        Raises:
            ConfigError: nothing is within the budgets.
        """
        kept = [self._keep(node, pairs) for node, pairs in enumerate(self.pairs)]
        entries = [
            [Entry(*pair, size) for pair, size in zip(pairs, sizes, strict=False)]
            for pairs, sizes in zip(self.pairs, self.codes.abs().tolist(), strict=True)
        ]
        return keep_within(entries, kept, self.frozen.tolist(), budgets)

    @torch.no_grad()
    def settle(self) -> None:
        """Keep what is kept now, with its measurements, for good."""
        self.anchor.copy_(torch.where(self.frozen[:, None], self.anchor, self.measurements))
        self.frozen.fill_(True)

    def _keep(self, node: int, pairs: list[tuple[int, int]]) -> list[int]:
        """The largest entry of each edge, of the edges where it is largest."""
        size = self.codes[node].abs().tolist()
        best: dict[int, int] = {}
        for index, (row, _) in enumerate(pairs):
            if row not in best or size[index] > size[best[row]]:
                best[row] = index
        return sorted(best.values(), key=lambda index: -size[index])[: self.sparsity]

    def noise(self, generator: torch.Generator) -> None:
        """Nothing is random."""
        return

    def forward(self, noise: Tensor | None, progress: float) -> ChoiceWeights:
        """See `Relaxation.forward`; the options drawn are those kept, none of an edge that is left out."""
        measured = torch.where(self.frozen[:, None], self.anchor, self.measurements)
        codes = self.codes * self.kept
        residual = measured - torch.einsum("pmn,pn->pm", self.matrix, codes)
        values = codes + torch.einsum("pmn,pm->pn", self.matrix, residual)
        places = [(*self.pairs[node][index], node, index) for node, index in self.kept.nonzero().tolist()]
        rows, options, nodes, indices = torch.tensor(places).T
        weights = values.new_zeros(self.choices.shape).index_put((rows, options), values[nodes, indices])
        drawn: list[tuple[int, ...]] = [()] * len(self.choices)
        for row, option, _, _ in places:
            drawn[row] = (option,)
        return ChoiceWeights(weights, tuple(drawn))

    def probabilities(self) -> Tensor:
        """1 at what is kept; an edge that is left out has the weight a half, on ``none`` or on all options alike."""
        chosen = self.forward(None, 0.0).drawn
        assert chosen is not None
        table = self.codes.new_zeros(self.choices.shape)
        for row, (names, kept) in enumerate(zip(self.choices.options, chosen, strict=True)):
            if kept:
                table[row, kept[0]] = 1.0
            elif "none" in names:
                table[row, names.index("none")] = 0.5
            else:
                table[row, : len(names)] = 0.5 / len(names)
        return table


def _layers(choices: Choices) -> tuple[tuple[int, ...], ...]:
    """The rows of a chain, each by itself; none where rows are of several kinds, or edges into nodes."""
    chain = not choices.nodes and len(choices.groups) == 1 and set(choices.picks) == {1}
    return tuple((row,) for row in range(len(choices))) if chain else ()
