"""A learnable policy: which operations, whether they are applied, and how strongly."""

from collections.abc import Iterator
from itertools import combinations, product
from typing import TYPE_CHECKING, Any, Literal, get_args, overload

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_augment import annotations as following
from nas_augment.annotations import Annotated, AnnotationArguments
from nas_augment.applying import Backend, Path, apply_operations
from nas_augment.decided import Policy
from nas_augment.errors import PolicyError, is_count
from nas_augment.fixed import Cutout, FixedPolicy, Stage
from nas_augment.gallery import grid
from nas_augment.geometry import Motion
from nas_augment.operation_motions import operation_motions
from nas_augment.operations import Space, preset
from nas_augment.policy import AugmentationPolicy, check_images
from nas_augment.relaxation import Relaxation
from nas_augment.sample import OperationDraw, PolicySample
from nas_augment.stages import Step, SubPolicies, SubPolicy

if TYPE_CHECKING:
    from typing_extensions import Unpack


__all__ = ["LearnablePolicy", "daas", "dada", "dha"]

Choice = Literal["slots", "joint", "unordered"]
Share = Literal["position", "operation", "pair"]


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
        if not is_count(count) or count < 1:
            raise PolicyError(f"count of operations is {count!r}; expected a whole number, 1 or more.")
        for name, given, known in (("choice", choice, Choice), ("share", share, Share), ("backend", backend, Backend)):
            if given not in get_args(known):
                raise PolicyError(f"{name} is {given!r}; expected one of {', '.join(get_args(known))}.")
        if per not in ("image", "batch"):
            raise PolicyError(f"per is {per!r}; expected image or batch.")
        if probability is not None and not 0 <= probability <= 1:
            raise PolicyError(f"probability is {probability}; expected 0 to 1, or None to learn it.")
        if choice == "unordered" and count > len(space.operations):
            raise PolicyError(f"no sets of {count} different operations in space {space.name!r}.")
        if continuous_levels and not learn_levels:
            raise PolicyError("continuous_levels are learned; with learn_levels=False levels are uniform.")
        self.space, self.count, self.choice, self.share, self.per = space, count, choice, share, per
        self.probability, self.count_void_levels, self.backend = probability, count_void_levels, backend
        self.before, self.after = FixedPolicy(before), FixedPolicy(after)
        operations, self.tuples = len(space.operations), _tuples(len(space.operations), count, choice)
        rows = {"position": count * operations, "operation": operations, "pair": len(self.tuples) * count}[share]
        shape = (count, operations) if choice == "slots" else (len(self.tuples),)
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
            operations = self._decode(uniform)
        if self.per == "batch":
            operations = operations.map(lambda tensor: tensor.expand(batch, *tensor.shape[1:]))
        return PolicySample(fixed, batch, operations)

    def _decode(self, uniform: Tensor) -> OperationDraw:
        """What uniform numbers ``(draws, count, 6)`` stand for, by inverting the cumulated probabilities."""
        device = uniform.device
        which, gate, levels, sign = (uniform[..., at] for at in range(4))
        choice = self.choice_logits.to(device).double().softmax(-1)
        if self.choice == "slots":
            op = _invert(which, choice.expand(len(uniform), -1, -1))
        else:
            op = self.tuples.to(device)[_invert(which[:, 0], choice.expand(len(uniform), -1))]
        row = self.row(op)
        applied = gate < self.probabilities().to(device)[row]
        level = _invert(levels, self.level_probabilities().to(device)[row])
        level = torch.where(self.counts_level(op, applied), level, 0)
        signed = self.space.signed().to(device)[op]
        signs = torch.where(signed & (sign < 0.5), -1, 1).to(torch.int8)
        return OperationDraw(self.space, op, applied, level, signs, uniform[..., 4:])

    def row(self, op: Tensor) -> Tensor:
        """Which row of the probabilities and level logits each operation of ``op (..., count)`` uses."""
        if self.share == "operation":
            return op
        position = torch.arange(self.count, device=op.device)
        if self.share == "position":
            return position * len(self.space.operations) + op
        return self.tuple_index(op)[..., None] * self.count + position

    def tuple_index(self, op: Tensor) -> Tensor:
        """Which of the tuples ``op (..., count)`` is, ``(...)``; -1 for one that is never drawn."""
        size = len(self.space.operations)
        weight = size ** torch.arange(self.count - 1, -1, -1, device=op.device)
        index = torch.full((size**self.count,), -1, device=op.device)
        tuples = self.tuples.to(op.device)
        index[(tuples * weight).sum(1)] = torch.arange(len(tuples), device=op.device)
        found: Tensor = index[(op * weight).sum(-1)]
        return found

    def probabilities(self) -> Tensor:
        """Of applying an operation, by `row`, ``(rows,)`` float64."""
        if self.probability_logits is not None:
            return self.probability_logits.double().sigmoid()
        return torch.full((self._rows(),), self.probability or 0.0, dtype=torch.float64)

    def level_probabilities(self) -> Tensor:
        """Of each level where it is drawn, by `row`, ``(rows, levels)`` float64; a continuous level is one of them."""
        if self.level_logits is not None:
            return self.level_logits.double().softmax(-1)
        if self.position_logits is not None:
            nearest = (self.position_logits.double().sigmoid() * (self.space.levels - 1)).round().long()
            return F.one_hot(nearest, self.space.levels).double()
        return torch.full((self._rows(), self.space.levels), 1 / self.space.levels, dtype=torch.float64)

    def _rows(self) -> int:
        operations = len(self.space.operations)
        if self.share == "pair":
            return len(self.tuples) * self.count
        return operations if self.share == "operation" else operations * self.count

    def counts_level(self, op: Tensor, applied: Tensor) -> Tensor:
        """Whether the level of each operation is drawn and counted: it is applied and has one."""
        if self.count_void_levels:
            return applied
        has_value = torch.tensor([operation.has_value for operation in self.space.operations], device=op.device)
        return applied & has_value[op]

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
            moved = self.apply(images, sample, path=path, relaxation=relaxation)
            return following.move(moved, self.motions(sample, *images.shape[2:]), **annotations)
        check_images(images)
        sample.check(images)
        draw = self.checked(sample)
        stages = len(self.before.stages)
        images = self.before.apply(images, PolicySample(sample.draws[:stages], len(sample)), path=path)
        images = apply_operations(images, draw, backend=self.backend, path=path, relaxation=relaxation)
        return self.after.apply(images, PolicySample(sample.draws[stages:], len(sample)), path=path)

    def motions(self, sample: PolicySample, height: int, width: int) -> tuple[Motion, ...]:
        """See `AugmentationPolicy.motions`: those of the stages before, of each slot, and of the stages after."""
        stages = len(self.before.stages)
        before = self.before.motions(PolicySample(sample.draws[:stages], len(sample)), height, width)
        after = self.after.motions(PolicySample(sample.draws[stages:], len(sample)), height, width)
        return (*before, *operation_motions(self.checked(sample), height, width), *after)

    def decide(self, keep: int | None = None) -> Policy:
        """All tuples by their probability, each operation at its likeliest level (DAAS, Sec. 4.3).

        Levels that are not learned are drawn uniformly by what is decided, as they are here (DHA).

        Args:
            keep: only that many of the likeliest tuples; DADA keeps 25.
        """
        if keep is not None and not (is_count(keep) and keep > 0):
            raise PolicyError(f"keep is {keep!r}; expected a whole number, 1 or more, or None for all.")
        tuples, weights = self.tuples, self.tuple_probabilities()
        with torch.no_grad():
            row = self.row(tuples)
            probabilities = self.probabilities().cpu()[row]
            levels = self.level_probabilities().cpu().argmax(-1)[row]
            levels = torch.where(self._has_value()[tuples], levels, 0)
            free = self._has_value()[tuples] & (self.level_logits is None and self.position_logits is None)
        order = weights.argsort(descending=True, stable=True)[:keep].tolist()
        names = [operation.name for operation in self.space.operations]
        entries = tuple(
            SubPolicy(
                tuple(
                    Step(
                        names[int(tuples[at, k])],
                        float(probabilities[at, k]),
                        None if free[at, k] else int(levels[at, k]),
                    )
                    for k in range(self.count)
                ),
                float(weights[at]),
            )
            for at in order
        )
        return Policy((*self.before.stages, SubPolicies(self.space, entries), *self.after.stages))

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

    def _has_value(self) -> Tensor:
        return torch.tensor([operation.has_value for operation in self.space.operations])

    def enumerate(self) -> OperationDraw:
        """Every draw that `log_prob` tells apart, once; for small spaces.

        Returns:
            A draw of as many images; the probabilities of `log_prob` over it sum to 1.
        """
        rows = list(self._all_draws())
        table = torch.tensor(rows).view(len(rows), self.count, 3)
        op, applied, level = table[..., 0], table[..., 1].bool(), table[..., 2]
        return OperationDraw(
            self.space, op, applied, level, torch.ones_like(op, dtype=torch.int8), torch.full((*op.shape, 2), 0.5)
        )

    def _all_draws(self) -> Iterator[list[tuple[int, int, int]]]:
        gates = (0, 1) if self.probability_logits is not None else (1,)
        # Levels that are not learned are left at the first; a continuous one is always the same.
        fixed = self.level_probabilities().argmax(-1).tolist()
        for names in self.tuples.tolist():
            choices = []
            for op, row in zip(names, self.row(torch.tensor(names)).tolist(), strict=True):
                void = not (self.count_void_levels or self.space.operations[op].has_value)
                levels = [0] if void else [fixed[row]] if self.level_logits is None else range(self.space.levels)
                choices.append([(op, y, m) for y in gates for m in (levels if y else [0])])
            yield from (list(draw) for draw in product(*choices))

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


def _tuples(operations: int, count: int, choice: Choice) -> Tensor:
    drawn = (
        combinations(range(operations), count) if choice == "unordered" else product(range(operations), repeat=count)
    )
    return torch.tensor(list(drawn)).view(-1, count)


def _invert(uniform: Tensor, probabilities: Tensor) -> Tensor:
    """The index at which cumulated `probabilities` ``(..., n)`` pass `uniform` ``(...)``."""
    cumulated = probabilities.cumsum(-1)[..., :-1]
    return (uniform[..., None] >= cumulated).sum(-1)


def daas(*, before: tuple[Stage, ...] = (), after: tuple[Stage, ...] = ()) -> LearnablePolicy:
    """The policy of DAAS: 15 operations, two slots, probabilities and levels for each of 225 pairs; one a batch."""
    return LearnablePolicy(preset("fast_aa"), share="pair", per="batch", before=before, after=after)


def dada(
    *, continuous_levels: bool = False, before: tuple[Stage, ...] = (), after: tuple[Stage, ...] = ()
) -> LearnablePolicy:
    """The policy of DADA (Li et al., 2020): 105 pairs of different operations; one a batch.

    Differs from the paper: the magnitude is one of 10 levels, learned by the score function, unless it is continuous:
    then it is the paper's number in [0, 1], learned through the soft path, and one of 1001 levels where it is applied
    exactly.
    """
    return LearnablePolicy(
        preset("fast_aa", 1001 if continuous_levels else None),
        choice="unordered",
        share="pair",
        per="batch",
        continuous_levels=continuous_levels,
        before=before,
        after=after,
    )


def dha(*, before: tuple[Stage, ...] = (), after: tuple[Stage, ...] = (Cutout(16),)) -> LearnablePolicy:
    """The policy of DHA (Zhou et al., 2021): 14 x 14 ordered pairs, always applied, levels uniform; one an image."""
    return LearnablePolicy(
        preset("ops14_ra"), choice="joint", probability=1.0, learn_levels=False, before=before, after=after
    )
