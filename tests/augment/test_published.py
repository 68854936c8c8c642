"""Published policies against torchvision's tables, and genotypes that are read in."""

from typing import Any

import pytest
import torch

from nas_augment import PolicyError, published
from nas_augment.published import from_dada, from_fast_autoaugment
from nas_augment.stages import SubPolicies, UniformOperations

GENOTYPE = [[("Invert", 0.25, 0.5), ("Rotate", 1.0, 0.125)], [("Color", 0.5, 0.75), ("Cutout", 0.5, 1.0)]]


@pytest.mark.parametrize("data", ["cifar10", "svhn", "imagenet"])
def test_tables_equal_torchvisions(data: str) -> None:
    transforms: Any = pytest.importorskip("torchvision.transforms")
    (stage,) = published.autoaugment(data).stages
    assert isinstance(stage, SubPolicies)
    own = [tuple((step.name, step.probability, step.level) for step in entry.steps) for entry in stage.entries]
    theirs = transforms.AutoAugment()._get_policies(transforms.AutoAugmentPolicy(data))
    assert own == [tuple((name, p, level or 0) for name, p, level in entry) for entry in theirs]


@pytest.mark.parametrize("data", ["cifar10", "svhn", "imagenet"])
def test_tables_have_25_sub_policies(data: str) -> None:
    (stage,) = published.autoaugment(data).stages
    assert isinstance(stage, SubPolicies)
    assert len(stage.entries) == 25
    with pytest.raises(PolicyError, match="did you mean 'cifar10'"):
        published.autoaugment("cifar")


def test_randaugment_and_trivialaugment() -> None:
    (rand,), (trivial,) = published.randaugment(3, 12).stages, published.trivialaugment().stages
    assert isinstance(rand, UniformOperations)
    assert (rand.count, rand.level, rand.space.name) == (3, 12, "randaugment")
    assert isinstance(trivial, UniformOperations)
    assert (trivial.count, trivial.level, trivial.space.name) == (1, None, "trivial_wide")
    with pytest.raises(PolicyError, match="level is 31"):
        published.randaugment(2, 31)


def test_genotypes_are_read() -> None:
    stage = from_fast_autoaugment(GENOTYPE, levels=9)
    assert stage.entries[0].steps[1].level == 1
    rotate = stage.space.values[stage.space.index("Rotate"), 1]
    torch.testing.assert_close(rotate, torch.tensor(-22.5, dtype=torch.float64))
    assert [entry.weight for entry in from_dada(GENOTYPE, [2.0, 1.0]).entries] == [2.0, 1.0]
    assert from_dada(GENOTYPE) == from_fast_autoaugment(GENOTYPE)


def test_genotypes_that_are_wrong_are_refused() -> None:
    with pytest.raises(PolicyError, match="level of Invert is 5"):
        from_fast_autoaugment([[("Invert", 0.1, 5)]])
    with pytest.raises(PolicyError, match="did you mean 'Rotate'"):
        from_fast_autoaugment([[("Rotatee", 0.1, 0.5)]])
    with pytest.raises(PolicyError, match="1 weights for 2 sub-policies"):
        from_dada(GENOTYPE, [1.0])
    with pytest.raises(PolicyError, match="levels are 1"):
        from_fast_autoaugment(GENOTYPE, levels=1)
