"""Terms of the outer loss that ask the decoder of a latent relaxation: novelty and depth."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from nas_hypergrad import Variables
from nas_search.autoencoder import GraphVAE
from nas_search.density import Gaussian, log_stretch, manifold_log_density, normal_residual
from nas_search.errors import ConfigError
from nas_search.regularizers import successive_edges
from nas_search.relaxations import Latent
from nas_search.roles import Regularizer, Schedule
from nas_search.run_state import check_positive
from nas_search.schedules import Constant, Sigmoid

if TYPE_CHECKING:
    from nas_search.state import SearchState

__all__ = ["DecodedDepth", "Novelty", "visited_paths"]

_POINT = "relaxation.point"
_FLOOR = 1e-6  # singular values and radii below this are nothing: a decoder that is sure has them


def visited_paths(state: "SearchState") -> list[list[list[int]]]:
    """The archive: the options drawn in every row, of the paths trained last, the oldest first (see `Archived`)."""
    found: list[list[list[int]]] = state.memory.get("visited_paths", [])
    return found


@dataclass(frozen=True)
class Novelty:
    """``coefficient * log p(architecture)`` among those visited: to descend it is to explore (thesis, Eq. 4.7 and 4.11).

    The density is that of Lemma 2 (see `manifold_log_density`), differentiable in the latent point through all of its
    terms: ``p(point)`` is a Gaussian fitted to the encodings of the archive, ``|det S|`` comes from the Jacobian of the
    smooth decoder, and the radius is the distance of the drawn architecture, one-hot, from the manifold at the point.
    Without an archive yet the term is 0. The sampler has to be `Archived`, which fills it.

    Args:
        coefficient: gamma over the run; ``Sig(10)`` in the paper.
        deviation: the smallest standard deviation of the Gaussians: those of an archive of one architecture have none.
        manifold: False leaves out all but ``p(point)``, and with it the second derivatives of the decoder. The others
            say how sure the decoder is.

    Differs from the paper:
        1. See `manifold_log_density` for the two misprints of Eq. 4.10 and 4.11.
        2. Released code takes the density as a number without a gradient, so that it does nothing but scale the
           learning rate by ``1 - gamma``; and a surrogate of the encoder in place of the decoder's Jacobian.
        3. Its marginals are generalised Gaussians, and a histogram of the radius; the paper leaves them open.
        4. m is the dimension in which type probabilities vary: their rows sum to 1, so ``edges (types - 1)`` a cell.
    """

    coefficient: Schedule = Sigmoid(10.0)
    deviation: float = 0.1
    manifold: bool = True

    def __post_init__(self) -> None:
        if not self.deviation > 0:
            raise ConfigError(f"deviation is {self.deviation}; expected a positive number, such as 0.1.")

    def at(self, state: "SearchState") -> Regularizer:
        """See `RegularizerFactory`.

        Raises:
            ConfigError: the relaxation is no `Latent`, or its points have as many dimensions as the architectures.
        """
        autoencoder = _latent(self, state).autoencoder
        if self.manifold and autoencoder.codimension < 1:
            raise ConfigError(
                f"a cell of space {state.space.name!r} has {autoencoder.graph.freedom} dimensions, and its latent points "
                f"{autoencoder.latent}; the density of Lemma 2 needs less: set latent below {autoencoder.graph.freedom}, or "
                "leave out the manifold."
            )
        places = self._places(autoencoder, state)

        def term(weights: Tensor, progress: float, outer: Variables) -> Tensor:
            if not len(places):
                return weights.new_zeros(())
            return self.coefficient(progress) * self._log_density(autoencoder, places, weights, outer[_POINT])

        return term

    @torch.no_grad()
    def _places(self, autoencoder: GraphVAE, state: "SearchState") -> Tensor:
        """Encodings and radii of the archive, ``(paths, size + 1)``; those of before are remembered, as they cost most."""
        known: dict[str, Tensor] = state.memory.get("visited_places", {})
        visited = {str(path): path for path in visited_paths(state)}
        new = [key for key in visited if key not in known]
        if new:
            types = autoencoder.graph.read([visited[key] for key in new])
            encodings = autoencoder.encode_types(types)[0].double()
            radii = _radii(autoencoder, encodings, types)[0] if self.manifold else torch.zeros_like(encodings[:, 0])
            found = torch.cat([encodings, radii[:, None]], dim=1)
            known = {**known, **dict(zip(new, found.unbind(), strict=True))}
        state.memory["visited_places"] = known = {key: known[key] for key in visited}
        rows = [known[str(path)] for path in visited_paths(state)]
        return torch.stack(rows) if rows else torch.zeros(0, autoencoder.size + 1, dtype=torch.float64)

    def _log_density(self, autoencoder: GraphVAE, places: Tensor, weights: Tensor, point: Tensor) -> Tensor:
        points, point = Gaussian.fitted(places[:, :-1], self.deviation), point.double()
        if not self.manifold:
            return points.log_prob(point)
        radii = Gaussian.fitted(places[:, -1:], self.deviation)
        path = [row.nonzero().flatten().tolist() for row in weights.detach()]
        radius, stretch = _radii(autoencoder, point[None], autoencoder.graph.read([path]))
        return manifold_log_density(point, stretch[0], radius[0], autoencoder.codimension, points, radii)


def _radii(autoencoder: GraphVAE, points: Tensor, types: Tensor) -> tuple[Tensor, Tensor]:
    """How far architectures are from the manifold at points of it, and the stretch there, ``(batch,)`` each.

    Args:
        autoencoder: the decoder whose manifold it is.
        points: ``(batch, size)``.
        types: ``(batch, cells, edges)``.
    """
    values, jacobians = autoencoder.manifold(points)
    ones = F.one_hot(types, len(autoencoder.graph.types)).to(values).flatten(2)
    normal = normal_residual(ones - values, jacobians, _FLOOR)
    # The Jacobian of an architecture consists of those of its cells, block by block.
    radius = (normal.square().sum(dim=(1, 2)) + _FLOOR**2).sqrt()
    return radius, log_stretch(jacobians, _FLOOR).sum(dim=1)


@dataclass(frozen=True)
class DecodedDepth:
    """``- coefficient * E[number of connections between successive nodes]`` near the point (thesis, Eq. 4.13 and 4.14).

    The expectation over ``D(point + deviation * e)``, `e` standard normal, is the mean of `samples` draws, each with the
    gradient of its softmax.

    Args:
        coefficient: zeta over the run; 0.05 in the paper.
        samples: M; 10 in the paper.
        deviation: of the noise on the point.

    Differs from the paper:
        1. The deviation is not given there.
        2. The second form of Eq. 4.14 has no minus sign; it is a misprint.
    """

    coefficient: Schedule = Constant(0.05)
    samples: int = 10
    deviation: float = 0.1

    def __post_init__(self) -> None:
        check_positive(samples=self.samples)
        if self.deviation < 0:
            raise ConfigError(f"deviation is {self.deviation}; expected 0 or more.")

    def at(self, state: "SearchState") -> Regularizer:
        """See `RegularizerFactory`; draws the noise of the step.

        Raises:
            ConfigError: the relaxation is no `Latent`.
        """
        relaxation = _latent(self, state)
        table = successive_edges(state.space)
        shifts = self.deviation * torch.randn(self.samples, relaxation.autoencoder.size, generator=state.generator)
        noise = relaxation.gumbel(self.samples, state.generator)

        def term(weights: Tensor, progress: float, outer: Variables) -> Tensor:
            rows, _ = relaxation.autoencoder.draw(outer[_POINT] + shifts, noise, relaxation.temperature(progress))
            connections = (relaxation.autoencoder.weights(rows) * table).sum(dim=(1, 2))
            return -self.coefficient(progress) * connections.mean()

        return term


def _latent(part: object, state: "SearchState") -> Latent:
    if not isinstance(state.relaxation, Latent):
        raise ConfigError(f"{part} reads the decoder of a latent relaxation; give the method the relaxation Latent.")
    return state.relaxation
