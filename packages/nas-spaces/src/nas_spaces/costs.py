"""What each option of each choice costs: parameters, multiply-adds, or a latency that you measured.

Every operation is looked at alone, at every place of the network where it may stand. So an architecture's cost is a constant
plus the costs of the options that it takes, and the expected cost under choice weights is linear in them and has a
gradient: a term for the outer loss, as in ProxylessNAS (Cai, Zhu and Han, ICLR 2019, section 3.2) and FBNet (Wu et al.,
CVPR 2019, Eq. 4).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from nas_spaces.architecture import Architecture
from nas_spaces.counting import count
from nas_spaces.errors import InputError, WeightsError
from nas_spaces.space import SearchSpace

__all__ = ["Costs", "Measure", "Place", "operation_costs", "places"]


@dataclass(frozen=True)
class Place:
    """One operation where it stands in the network.

    Args:
        row: of the choices.
        option: of the row.
        name: the option's name.
        module: the operation, on the meta device: its shapes are known and its weights take no memory.
        inputs: ``(1, channels, height, width)`` that it reads.
        outputs: ``(1, channels, height, width)`` that it gives.
    """

    row: int
    option: int
    name: str
    module: nn.Module
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def key(self) -> str:
        """What decides a latency: ``conv 16x32x32 16x32x32``, the name with the shapes of input and output."""
        return " ".join([self.name, *("x".join(map(str, shape[1:])) for shape in (self.inputs, self.outputs))])


Measure: TypeAlias = Literal["parameters", "multiply_adds"] | Callable[[Place], float]
"""What is counted; a function, such as a `LatencyTable`, takes an operation with its place."""


@dataclass(frozen=True)
class Costs:
    """The cost of an architecture, split over its choices.

    Args:
        options: ``(choices, options)`` float64; 0 where an option does not exist.
        constant: what every architecture costs besides: stem, classifier, and all that is not chosen.
    """

    options: Tensor
    constant: float

    def of(self, weights: Tensor) -> Tensor:
        """``constant + sum_ij w_ij c_ij``: the expected cost under choice weights, differentiable, a scalar.

        With the weights of one architecture (`SearchSpace.weights`) it is that architecture's cost.

        Args:
            weights: ``(choices, options)``; rows that are distributions make it an expectation.

        Raises:
            WeightsError: the weights have another shape.
        """
        if weights.shape != self.options.shape:
            raise WeightsError(
                f"weights have shape {tuple(weights.shape)}; the costs have {tuple(self.options.shape)}."
            )
        # Costs are larger than the largest number of float16.
        weights = weights.to(torch.promote_types(weights.dtype, torch.float32))
        return (weights * self.options.to(weights)).sum() + self.constant


def operation_costs(
    space: SearchSpace,
    *,
    measure: Measure = "parameters",
    image: tuple[int, int, int] = (3, 32, 32),
    classes: int = 10,
    channels: int = 16,
    cells: int | None = None,
) -> Costs:
    """The cost of every option, summed over the places where it stands; a dry run that allocates nothing.

    For parameters and multiply-adds ``costs.of(space.weights(a))`` is exactly that of ``space.count(a)``. With a function
    the constant is 0: the function has not seen what is not chosen.

    Args:
        space: a space whose states are not chosen by rows of their own, where a cost is a product of two weights.
        measure: ``"parameters"``, ``"multiply_adds"``, or a function of a `Place`.
        image: ``(channels, height, width)``.
        classes: as in `SearchSpace.network`.
        channels: as in `SearchSpace.network`.
        cells: as in `SearchSpace.network`.

    Raises:
        InputError: the measure is unknown, or the space has rows for inputs, or does not say where its operations stand.

    Example:
        >>> from nas_spaces import nas_bench_201
        >>> costs = operation_costs(nas_bench_201())
        >>> costs.constant, costs.options[0].tolist()
        (73306.0, [0.0, 0.0, 28000.0, 243040.0, 0.0])
    """
    if not callable(measure) and measure not in ("parameters", "multiply_adds"):
        raise InputError(f"unknown measure {measure!r}; expected 'parameters', 'multiply_adds' or a function.")

    # DARTS has 1,960 places at its own depth, and 34 different ones.
    counted: dict[tuple[str, str], int] = {}

    def cost(place: Place) -> float:
        if callable(measure):
            return float(measure(place))
        if measure == "parameters":
            return float(sum(p.numel() for p in place.module.parameters() if p.requires_grad))
        if not _tells_itself(place.module):
            return float(count(place.module, place.inputs).multiply_adds)
        same = place.key, repr(place.module)
        if same not in counted:
            counted[same] = count(place.module, place.inputs).multiply_adds
        return float(counted[same])

    # On the host, as the choice weights of an architecture are, whatever the default device is.
    options = torch.zeros(space.choices.shape, dtype=torch.float64, device="cpu")
    for place in places(space, image=image, classes=classes, channels=channels, cells=cells):
        options[place.row, place.option] += cost(place)
    if callable(measure):
        return Costs(options, 0.0)
    some = space.discretize(torch.zeros(space.choices.shape, device="cpu"))
    whole = space.count(some, image=image, classes=classes, channels=channels, cells=cells)
    return Costs(options, float(getattr(whole, measure) - (space.weights(some) * options).sum()))


def _tells_itself(module: nn.Module) -> bool:
    """Whether modules of the same text are the same: of torch's own, which say their sizes, and in what holds them."""
    return all(type(each).__module__.startswith(("torch.nn.modules.", "nas_spaces.")) for each in module.modules())


def places(
    space: SearchSpace,
    *,
    image: tuple[int, int, int] = (3, 32, 32),
    classes: int = 10,
    channels: int = 16,
    cells: int | None = None,
) -> Iterator[Place]:
    """Every operation at every place where an architecture can have it, each once.

    Raises:
        InputError: the space has rows for inputs, or does not say where its operations stand.
    """
    if any(name.endswith(".inputs") for name in space.choices.groups):
        raise InputError(
            f"{space.name} chooses the inputs of a node in rows of their own: an operation costs nothing there when its edge "
            "is not taken. Use the space without them."
        )
    for architecture, new in _cover(space):
        with torch.device("meta"):
            network = space.network(architecture, classes=classes, channels=channels, cells=cells, in_channels=image[0])
        yield from _run(space, architecture, network, image, new)


def _cover(space: SearchSpace) -> Iterator[tuple[Architecture, Tensor]]:
    """Architectures that have every option among them, each with the options that are new, ``(choices, options)`` bool."""
    missing = space.choices.mask
    while missing.any():
        architecture = space.discretize(missing.double())
        new = missing & (space.weights(architecture) > 0)
        if not new.any():
            # What no architecture has, as `none` in DARTS, costs nothing.
            return
        missing = missing & ~new
        yield architecture, new


def _run(
    space: SearchSpace, architecture: Architecture, network: nn.Module, image: tuple[int, int, int], new: Tensor
) -> Iterator[Place]:
    found: list[Place] = []

    def record(row: int, option: int) -> Callable[[nn.Module, Any, Tensor], None]:
        name = space.choices.options[row][option]
        return lambda module, inputs, output: found.append(
            Place(row, option, name, module, tuple(inputs[0].shape), tuple(output.shape))
        )

    handles = [
        module.register_forward_hook(record(row, option))
        for row, option, module in space.operation_modules(network, architecture)
        if new[row, option]
    ]
    with torch.no_grad():
        network.eval()(torch.empty(1, *image, device="meta"))
    for handle in handles:
        handle.remove()
    return iter(found)
