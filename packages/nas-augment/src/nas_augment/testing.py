"""Conformance check of augmentation policies, ours and others'.

Call it from your own tests::

    from nas_augment.testing import check_policy

    def test_my_policy():
        check_policy(MyPolicy())
"""

import torch
from torch import Tensor

from nas_augment.decided import Policy
from nas_augment.errors import ImagesError, PolicyError
from nas_augment.learnable import LearnablePolicy
from nas_augment.policy import AugmentationPolicy
from nas_augment.sample import PolicySample

__all__ = ["check_policy"]

_MOST_DRAWS = 200_000
"""Of a policy of ours that are enumerated: a second of work."""


def check_policy(policy: AugmentationPolicy, *, batch: int = 6, size: int = 12, seed: int = 0) -> None:
    """Check the laws that every augmentation policy obeys, on random uint8 and float images.

    Where parameters require a gradient, the log-probability of a draw or the images depend on some of them; where the policy
    has a method `enumerate`, as `LearnablePolicy`, the probabilities of all its draws sum to 1.

    Raises:
        AssertionError: a law does not hold; the message names it.
    """
    pixels = torch.randint(0, 256, (batch, 3, size, size), generator=torch.Generator().manual_seed(seed))
    for images in (pixels.to(torch.uint8), pixels / 255, pixels[:, :1].to(torch.uint8), pixels[:0].to(torch.uint8)):
        _check_drawing(policy, images, seed)
    _check_refusals(policy, pixels.to(torch.uint8), seed)
    _check_annotations(policy, pixels.to(torch.uint8), seed)
    _check_score(policy, batch, size, seed)
    _check_enumeration(policy)
    decided = policy.decide()
    assert isinstance(decided, Policy), "decide() gives a Policy"
    _check_file(decided)
    shape = decided.apply(pixels.to(torch.uint8), generator=torch.Generator().manual_seed(seed)).shape
    assert shape == pixels.shape, "a decided policy keeps the shape of the images"


def _check_file(decided: Policy) -> None:
    try:
        text = decided.to_json()
    except PolicyError:  # a stage of somebody's own, which has no place in a file
        return
    assert Policy.from_json(text) == decided, "a decided policy is read back from JSON exactly"


def _check_drawing(policy: AugmentationPolicy, images: Tensor, seed: int) -> None:
    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    before, state = images.clone(), torch.random.get_rng_state()
    augmented = policy(images, generator=generator())
    assert torch.equal(images, before), "the images that were passed are not modified"
    assert torch.equal(state, torch.random.get_rng_state()), "the global random state is not touched"
    assert augmented.images.shape == images.shape, "the shape of the images is kept"
    assert augmented.images.dtype == images.dtype, "the dtype of the images is kept"
    if images.is_floating_point():
        assert ((augmented.images >= 0) & (augmented.images <= 1)).all(), "floats stay in [0, 1]"
    assert augmented.log_prob.shape == (len(images),), "there is one log-probability for each image"
    assert not augmented.log_prob.isnan().any(), "log-probabilities are numbers"
    assert (augmented.log_prob <= 1e-6).all(), "log-probabilities are not positive"
    sample = policy.sample(len(images), generator=generator())
    assert len(sample) == len(images), "a sample knows for how many images it was drawn"
    applied = policy.apply(images, sample)
    assert torch.equal(applied, augmented.images), "equal generators give equal images"
    shared = images.numel() and applied.untyped_storage().data_ptr() == images.untyped_storage().data_ptr()
    assert not shared, "apply returns images of its own, not those that were passed or a view of them: clone() them"
    assert torch.equal(policy.apply(images, sample), augmented.images), "a sample can be applied again"
    assert torch.equal(policy.log_prob(sample), augmented.log_prob), "forward scores what it drew"


def _check_score(policy: AugmentationPolicy, batch: int, size: int, seed: int) -> None:
    """Scores or pixels have a gradient: without one, a policy silently learns nothing."""
    learned = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    if not learned:
        return
    generator = torch.Generator().manual_seed(seed)
    augmented = policy(torch.rand(batch, 3, size, size, generator=generator), generator=generator)
    # Of a single draw: over a batch the gradients may cancel. One that is certain, as of a space of one operation, has none.
    reached = [value for value in (augmented.log_prob[0], augmented.images.sum()) if value.requires_grad]
    grads = [torch.autograd.grad(value, learned, allow_unused=True, retain_graph=True) for value in reached]
    moved = any(grad is not None and grad.any() for each in grads for grad in each)
    assert moved or (reached and augmented.log_prob[0] == 0), (
        "log-probabilities or images depend on the parameters that require a gradient, or none of these does"
    )


def _check_enumeration(policy: AugmentationPolicy) -> None:
    every = getattr(policy, "enumerate", None)
    if every is None or (isinstance(policy, LearnablePolicy) and _draws(policy) > _MOST_DRAWS):
        return
    draw = every()
    with torch.no_grad():
        log_prob = policy.log_prob(PolicySample((), len(draw), draw))
    total = float(log_prob.double().exp().sum())
    slack = max(1e-4, 100 * torch.finfo(log_prob.dtype).eps)
    assert abs(total - 1) <= slack, f"the probabilities of all draws sum to 1, not to {total}"


def _draws(policy: LearnablePolicy) -> int:
    """How many draws are enumerated at most: each operation is left out, or applied at one of its levels."""
    levels = 1 if policy.level_logits is None else policy.space.levels
    return len(policy.tuples) * (1 + levels) ** policy.count


def _check_annotations(policy: AugmentationPolicy, images: Tensor, seed: int) -> None:
    """A policy takes annotations along, or says that it does not."""
    batch, _, height, width = images.shape
    sample = policy.sample(batch, generator=torch.Generator().manual_seed(seed))
    try:
        policy.motions(sample, height, width)
    except PolicyError:
        return
    masks, boxes = images[:, 0].clone(), torch.tensor([[[0.0, 0.0, width, height], [0.0, 0.0, width / 2, 1.0]]] * batch)
    corners, before = boxes[..., :2].clone(), boxes.clone()
    out = policy.apply_annotated(images, sample, masks=masks, boxes=boxes, keypoints=corners)
    assert torch.equal(out.images, policy.apply(images, sample)), "annotations do not change what the images become"
    assert torch.equal(masks, images[:, 0]), "the masks that were passed are not modified"
    assert torch.equal(boxes, before), "the boxes that were passed are not modified"
    moved, valid = out.boxes, out.valid
    assert isinstance(moved, Tensor), "padded boxes come back padded"
    assert isinstance(valid, Tensor), "and say which are left"
    frame = torch.tensor([width, height] * 2)
    assert ((moved >= 0) & (moved <= frame)).all(), "boxes stay in the frame"
    assert (moved[..., 2:] >= moved[..., :2]).all(), "boxes keep the order of their sides"
    matrix = policy.matrices(sample, height, width).forward
    assert matrix.shape == (batch, 3, 3), "motions are those of the images of the sample"


def _check_refusals(policy: AugmentationPolicy, images: Tensor, seed: int) -> None:
    sample = policy.sample(len(images), generator=torch.Generator().manual_seed(seed))
    wrong = {
        "one image too few": images[1:],
        "no batch": images[0],
        "int64": images.long(),
        "two channels": images[:, :2],
        "not a number": torch.full(images.shape, torch.nan),
        "floats above 1": images.float(),
    }
    for what, bad in wrong.items():
        try:
            policy.apply(bad, sample)
        except ImagesError:
            continue
        except Exception as error:
            raise AssertionError(f"images that are wrong ({what}) must raise ImagesError, not {error!r}") from error
        raise AssertionError(f"images that are wrong ({what}) must raise ImagesError")
