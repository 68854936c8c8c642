"""A learnable policy: which operations, whether they are applied, and how strongly."""

from typing import TYPE_CHECKING, Any, Literal, get_args, overload

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_augment.annotations import Annotated, AnnotationArguments, check_names
from nas_augment.applying import Backend, Path, transform
from nas_augment.decided import Policy
from nas_augment.deciding import decide
from nas_augment.decoding import decode
from nas_augment.enumeration import every_draw
from nas_augment.errors import PolicyError, is_count, is_share, nearest
from nas_augment.fixed import FixedPolicy, Stage
from nas_augment.gallery import grid
from nas_augment.geometry import Motion
from nas_augment.layout import Choice, Layout, Share
from nas_augment.operation_motions import operation_motions
from nas_augment.operations import Space, check_space
from nas_augment.policy import AugmentationPolicy, check_images
from nas_augment.relaxation import Relaxation
from nas_augment.sample import OperationDraw, PolicySample

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["LearnablePolicy"]


class LearnablePolicy(AugmentationPolicy):
    """`count` operations one after another, each drawn, applied or not, and at one of the levels.

    The probability of a draw (DAAS, Eq. 3 and 4) is
    ``prod_k p(o_k; pi) (1 - p_k)^(1 - y_k) [p_k p(m_k; delta_k)]^(y_k)``, with `p(o; pi)` and `p(m; delta)` soft-maxes
    of logits and `p_k` a sigmoid of one.

    Args:
        space: the operations and their levels.
        count: operations for an image.
        choice: ``slots``: one soft-max for each slot (DAAS); ``joint``: one over all ordered tuples (DHA);
            ``unordered``: one over all sets of `count` different operations (DADA).
        share: what has a probability and level logits of its own: an operation in a ``position``, an ``operation``
            wherever it stands, or an operation of a ``pair`` (tuple), as the policies of DAAS and DADA.
        per: draw once for every ``image``, or once for the ``batch``.
        probability: of applying an operation; None learns it.
        learn_levels: learn the level; otherwise it is uniform.
        continuous_levels: the level is one learned number in [0, 1], rounded to the levels of the space where it is not
            relaxed (DADA, Faster AutoAugment), not a soft-max over them. It has no log-probability: it is learned
            through the soft path, from `latents.relax`.
        count_void_levels: draw and count the level of operations that have none, as Eq. 4 is written.
        before: fixed stages before it, such as a crop and a flip.
        after: fixed stages after it, such as Cutout.
        backend: see `applying.apply_operations`.

    Attributes:
        tuples: the operations that can be drawn together, in order, ``(tuples, count)``.
        choice_logits: ``(count, operations)`` for slots, else ``(tuples,)``.
        probability_logits: ``(rows,)``, or None; `row` finds the one of a draw.
        level_logits: ``(rows, levels)``, or None.
        position_logits: ``(rows,)``, of continuous levels, or None; 0 is the middle.

    Example:
        >>> from nas_augment import preset
        >>> policy = LearnablePolicy(preset("fast_aa"))
        >>> images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
        >>> augmented, log_prob = policy(images, generator=torch.Generator().manual_seed(0))
        >>> log_prob.mean().backward()
        >>> policy.choice_logits.grad.shape
        torch.Size([2, 15])
    """

    def __init__(
        self,
        space: Space,
        count: int = 2,
        *,
        choice: Choice = "slots",
        share: Share = "position",
        per: Literal["image", "batch"] = "image",
        probability: float | None = None,
        learn_levels: bool = True,
        continuous_levels: bool = False,
        count_void_levels: bool = False,
        before: tuple[Stage, ...] = (),
        after: tuple[Stage, ...] = (),
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        check_space(space)
        if not is_count(count) or count < 1:
            raise PolicyError(f"count of operations is {count!r}; expected a whole number, 1 or more.")
        for name, given, known in (("choice", choice, Choice), ("share", share, Share), ("backend", backend, Backend)):
            if given not in get_args(known):
                near = nearest(str(given), get_args(known))
                raise PolicyError(
                    f"{name} is {given!r}; expected one of {', '.join(get_args(known))}; did you mean {near!r}?"
                )
        if per not in ("image", "batch"):
            near = nearest(str(per), ("image", "batch"))
            raise PolicyError(f"per is {per!r}; expected image or batch; did you mean {near!r}?")
        if probability is not None and not is_share(probability):
            raise PolicyError(f"probability is {probability!r}; expected 0 to 1, or None to learn it.")
        if choice == "unordered" and count > len(space.operations):
            raise PolicyError(f"no sets of {count} different operations in space {space.name!r}.")
        if continuous_levels and not learn_levels:
            raise PolicyError("continuous_levels are learned; with learn_levels=False levels are uniform.")
        self.space, self.count, self.choice, self.share, self.per = space, int(count), choice, share, per
        self.probability, self.count_void_levels, self.backend = probability, count_void_levels, backend
        self.before, self.after = FixedPolicy(before), FixedPolicy(after)
        self.layout = Layout(len(space.operations), self.count, choice, share)
        self.tuples, rows = self.layout.tuples, self.layout.rows
        shape = (self.count, len(space.operations)) if choice == "slots" else (len(self.tuples),)
        self.choice_logits = nn.Parameter(torch.zeros(shape))
        self.probability_logits = nn.Parameter(torch.zeros(rows)) if probability is None else None
        by_logits = learn_levels and not continuous_levels
        self.level_logits = nn.Parameter(torch.zeros(rows, space.levels)) if by_logits else None
        self.position_logits = nn.Parameter(torch.zeros(rows)) if continuous_levels else None

    def sample(self, batch: int, *, generator: torch.Generator) -> PolicySample:
        """Draw on the device of the generator; the draws of one seed do not depend on where the parameters are."""
        fixed = (
            *self.before.sample(batch, generator=generator).draws,
            *self.after.sample(batch, generator=generator).draws,
        )
        draws = batch if self.per == "image" else 1
        device = generator.device
        uniform = torch.rand(draws, self.count, 6, generator=generator, device=device, dtype=torch.float64)
        with torch.no_grad():
            operations = decode(self, uniform)
        if self.per == "batch":
            operations = operations.map(lambda tensor: tensor.expand(batch, *tensor.shape[1:]))
        return PolicySample(fixed, int(batch), operations)

    def row(self, op: Tensor) -> Tensor:
        """See `Layout.row`."""
        return self.layout.row(op)

    def tuple_index(self, op: Tensor) -> Tensor:
        """See `Layout.tuple_index`."""
        return self.layout.tuple_index(op)

    def probabilities(self, device: torch.device | str | None = None) -> Tensor:
        """Of applying an operation, by `row`, ``(rows,)`` float64; computed on `device`, or where the parameters are."""
        if self.probability_logits is not None:
            return self.probability_logits.to(device=device).double().sigmoid()
        return torch.full((self.layout.rows,), self.probability or 0.0, dtype=torch.float64, device=device)

    def level_probabilities(self, device: torch.device | str | None = None) -> Tensor:
        """Of each level where it is drawn, by `row`, ``(rows, levels)`` float64; a continuous level is one of them."""
        levels = self.space.levels
        if self.level_logits is not None:
            return self.level_logits.to(device=device).double().softmax(-1)
        if self.position_logits is not None:
            nearest = self.position_logits.to(device=device).double().sigmoid() * (levels - 1)
            return F.one_hot(nearest.round().long(), levels).double()
        return torch.full((self.layout.rows, levels), 1 / levels, dtype=torch.float64, device=device)

    def counts_level(self, op: Tensor, applied: Tensor) -> Tensor:
        """Whether the level of each operation is drawn and counted: it is applied and has one."""
        if self.count_void_levels:
            return applied
        return applied & self.space.has_value().to(op.device)[op]

    def log_prob(self, sample: PolicySample) -> Tensor:
        """DAAS, Eq. 4, under the current parameters, ``(batch,)`` in their dtype.

        Signs, the place of Cutout and the fixed stages have no parameters and are left out, and so are probabilities
        and levels that are not learned.

        Raises:
            PolicyError: the sample was drawn from another space, or for another number of operations.
        """
        draw = self.checked(sample)
        device = self.choice_logits.device
        op, applied, level = (each.to(device) for each in (draw.op, draw.applied, draw.level))
        choice = F.log_softmax(self.choice_logits, -1)
        if self.choice == "slots":
            terms = choice.expand(len(op), -1, -1).gather(2, op[..., None])[..., 0].sum(1)
        else:
            index = self.tuple_index(op)
            if (index < 0).any():
                raise PolicyError("the sample has operations that this policy never draws together.")
            terms = choice[index]
        row = self.row(op)
        if self.probability_logits is not None:
            logit = self.probability_logits[row]
            terms = terms + F.logsigmoid(torch.where(applied, logit, -logit)).sum(1)
        if self.level_logits is not None:
            log_level = F.log_softmax(self.level_logits, -1)[row, level]
            terms = terms + torch.where(self.counts_level(op, applied), log_level, 0.0).sum(1)
        return terms

    def checked(self, sample: PolicySample) -> OperationDraw:
        """The operations of a sample.

        Raises:
            PolicyError: the sample was drawn from another space, or for another number of operations.
        """
        draw = sample.operations
        if draw is None or draw.space != self.space or draw.op.shape[1] != self.count:
            found = "no operations" if draw is None else f"{draw.op.shape[1]} operations of space {draw.space.name!r}"
            raise PolicyError(
                f"the sample has {found}; this policy draws {self.count} of space {self.space.name!r} "
                f"with {self.space.levels} levels."
            )
        draw.check()
        return draw

    @overload  # type: ignore[override]  # see the base class
    def apply(
        self, images: Tensor, sample: PolicySample, *, path: Path = "exact", relaxation: Relaxation | None = None
    ) -> Tensor: ...

    @overload
    def apply(
        self,
        images: Tensor,
        sample: PolicySample,
        *,
        path: Path = "exact",
        relaxation: Relaxation | None = None,
        **annotations: "Unpack[AnnotationArguments]",
    ) -> Annotated: ...

    def apply(
        self,
        images: Tensor,
        sample: PolicySample,
        *,
        path: Path = "exact",
        relaxation: Relaxation | None = None,
        **annotations: "Unpack[AnnotationArguments]",
    ) -> Tensor | Annotated:
        """See `AugmentationPolicy.apply`, and `AugmentationPolicy.apply_annotated` for what may go along.

        `path` and `relaxation` are those of `applying.apply_operations`; annotations follow what was drawn.
        """
        if annotations:
            check_names(annotations, "path, relaxation")
            return self.apply_annotated(images, sample, path=path, relaxation=relaxation, **annotations)
        check_images(images)
        sample.check(images)
        draw = self.checked(sample)
        stages = len(self.before.stages)
        images = self.before.transform(images, PolicySample(sample.draws[:stages], len(sample)), path)
        images = transform(images, draw, backend=self.backend, path=path, relaxation=relaxation)
        return self.after.transform(images, PolicySample(sample.draws[stages:], len(sample)), path)

    def motions(self, sample: PolicySample, height: int, width: int) -> tuple[Motion, ...]:
        """See `AugmentationPolicy.motions`: those of the stages before, of each slot, and of the stages after."""
        stages = len(self.before.stages)
        before = self.before.motions(PolicySample(sample.draws[:stages], len(sample)), height, width)
        after = self.after.motions(PolicySample(sample.draws[stages:], len(sample)), height, width)
        return (*before, *operation_motions(self.checked(sample), height, width), *after)

    def decide(self, keep: int | None = None) -> Policy:
        """All tuples by their probability, each operation at its likeliest level; see `deciding.decide`."""
        return decide(self, keep)

    def tuple_probabilities(self) -> Tensor:
        """How likely each of `tuples` is, ``(tuples,)`` float64; without gradient."""
        with torch.no_grad():
            tuples, logits = self.tuples, F.log_softmax(self.choice_logits.double().cpu(), -1)
            if self.choice == "slots":
                logits = sum((logits[slot, tuples[:, slot]] for slot in range(self.count)), torch.zeros(len(tuples)))
            return logits.exp()

    def grid(self, images: Tensor) -> Tensor:
        """Its operations at all levels on `images` as one picture ``(channels, rows, columns)``; see `gallery.grid`."""
        return grid(self.space, images)

    def enumerate(self) -> OperationDraw:
        """Every draw that `log_prob` tells apart; see `enumeration.every_draw`."""
        return every_draw(self)

    def entropy(self) -> Tensor:
        """Of the choice of operations, in nats; a scalar that can be added to a loss."""
        log_choice = F.log_softmax(self.choice_logits, -1)
        return -(log_choice.exp() * log_choice).sum()

    def get_extra_state(self) -> Any:
        """What the parameters mean, so that they are not loaded into another policy."""
        return {"space": repr(self.space), "count": self.count, "choice": self.choice, "share": self.share}

    def set_extra_state(self, state: Any) -> None:
        """Refuse the parameters of another policy.

        Raises:
            PolicyError: the space, the count, the choice or the sharing is another.
        """
        own = self.get_extra_state()
        changed = sorted(key for key in own if not isinstance(state, dict) or state.get(key) != own[key])
        if changed:
            raise PolicyError(f"these are parameters of another policy: {', '.join(changed)} differ.")

    def extra_repr(self) -> str:
        """What distinguishes it."""
        return f"{self.space.name}, count={self.count}, choice={self.choice}, share={self.share}, per={self.per}"
