"""The curvature of the validation loss in the architecture parameters."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from nas_search.data import NO_VALIDATION
from nas_search.diagnostics.spectrum import hutchinson, lanczos
from nas_search.errors import ConfigError
from nas_search.roles import ChoiceWeights, Event, Relaxation
from nas_search.run_state import check_positive
from nas_search.state import SearchState
from nas_search.streams import stream_seed

__all__ = ["HessianSpectrum"]


@dataclass(frozen=True)
class HessianSpectrum:
    """Records ``d2 L_valid / da2`` after every epoch: its dominant eigenvalue and its trace (Zela et al., ICLR 2020).

    The architecture that a sharp minimum stands for loses much of its accuracy when it is made discrete: a dominant
    eigenvalue that grows fast is the sign of DARTS' collapse. The matrix is never formed: `lanczos` and `hutchinson` take
    products, by differentiating the gradient, whose graph is kept. The loss is that of the first validation batch, the
    same in every epoch; the weights are held constant.

    In the record: ``hessian_eigenvalue``, the largest; ``hessian_trace`` and ``hessian_trace_error``, its standard error. Of
    several spectra in one search, such as that of an early stopping and one of the caller, only the first measures.

    Args:
        iterations: products for the eigenvalue; exact from the number of architecture parameters on.
        probes: products for the trace, at least 2.

    Differs from the paper:
        1. The released code forms the whole matrix by differences, on a random batch every other epoch.
    """

    iterations: int = 20
    probes: int = 10

    def __post_init__(self) -> None:
        check_positive(iterations=self.iterations)
        if self.probes < 2:
            raise ConfigError(f"probes is {self.probes}; expected 2 or more, so that the trace has a standard error.")

    def __call__(self, event: Event) -> None:
        """See `Observer`.

        Raises:
            ConfigError: see `check`.
        """
        state = event.state
        if not isinstance(state, SearchState):
            return
        if event.kind == "epoch":
            # Early stopping brings a spectrum of its own, which is told before that of the caller.
            if "hessian_eigenvalue" not in event.record:
                event.record.update(self.measure(state))
        elif event.epoch == 0:  # what does not fit is told at the first step, not after an epoch
            self.check(state)

    def check(self, state: SearchState) -> None:
        """Refuse a search whose validation loss is no smooth function of architecture parameters.

        Raises:
            ConfigError: there are none, or paths are drawn, or no image validates.
        """
        if not len(state.valid_examples.labels):
            raise ConfigError(NO_VALIDATION)
        _choose(state, torch.Generator().manual_seed(0))

    def measure(self, state: SearchState) -> dict[str, float]:
        """The figures of the search as it is now; nothing of it changes.

        Raises:
            ConfigError: see `check`.
        """
        # A stream of its own: the draws of the search do not depend on whether somebody looks.
        generator = torch.Generator().manual_seed(stream_seed(state.seed, "spectrum", state.epoch))
        with torch.random.fork_rng(devices=[]):  # dropout in the supernet draws from the global state
            torch.default_generator.manual_seed(stream_seed(state.seed, "spectrum dropout"))
            loss, parameters = _loss(state, generator)
        gradient = _flat(torch.autograd.grad(loss, parameters, create_graph=True))
        sizes = [parameter.numel() for parameter in parameters]

        def product(vector: Tensor) -> Tensor:
            if not gradient.requires_grad:  # a loss that is linear in them
                return torch.zeros_like(vector)
            parts = torch.autograd.grad(gradient, parameters, vector, retain_graph=True, materialize_grads=True)
            return _flat(parts)

        start = torch.randn(sum(sizes), generator=generator).to(gradient)
        signs = torch.randint(0, 2, (self.probes, sum(sizes)), generator=generator).to(gradient) * 2 - 1
        trace, error = hutchinson(product, signs)
        return {
            "hessian_eigenvalue": float(lanczos(product, start, self.iterations)[-1]),
            "hessian_trace": float(trace),
            "hessian_trace_error": float(error),
        }


def _loss(state: SearchState, generator: torch.Generator) -> tuple[Tensor, list[Tensor]]:
    """The validation loss as a graph over the architecture parameters, and these."""
    with torch.enable_grad():
        relaxation, choice = _choose(state, generator)
        supernet = state.require_supernet()
        constant = {name: value.detach() for name, value in supernet.named_parameters()}
        images, labels = state.valid[0]
        logits = functional_call(supernet, constant, (state.normalize(images), *choice))
        return F.cross_entropy(logits, labels), [value for value in relaxation.parameters() if value.requires_grad]


def _choose(state: SearchState, generator: torch.Generator) -> tuple[Relaxation, ChoiceWeights]:
    """The relaxation and its choice weights, checked to be smooth."""
    if state.relaxation is None:
        raise ConfigError(f"method {state.method.name!r} has no architecture parameters to take the Hessian in.")
    choice = state.relaxation(state.relaxation.noise(generator), state.progress)
    if choice.drawn is not None:
        raise ConfigError(
            f"method {state.method.name!r} draws a path, so its loss is no smooth function of the architecture "
            "parameters: the Hessian is for relaxations that weight every option, such as Softmax."
        )
    return state.relaxation, choice


def _flat(parts: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([part.flatten() for part in parts])
