"""Installed policies by name."""

from importlib.metadata import EntryPoint

import pytest

from nas_augment import AugmentationPolicy, UnknownPolicyError, catalog
from nas_augment.testing import check_policy


@pytest.mark.parametrize("name", catalog.names())
def test_every_installed_policy_conforms(name: str) -> None:
    policy = catalog.policy(name.replace("_", "-"))
    assert isinstance(policy, AugmentationPolicy)
    check_policy(policy)


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UnknownPolicyError, match="did you mean 'randaugment'"):
        catalog.policy("rand-aug")


def test_entry_points_are_found_but_do_not_replace_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("mine", "nas_augment.fixed:identity", "nas.policies"),
        EntryPoint("cutout", "elsewhere:cutout", "nas.policies"),
    ]
    monkeypatch.setattr(catalog, "entry_points", lambda group: points if group == "nas.policies" else [])
    assert catalog.names()["mine"] == "nas_augment.fixed:identity"
    assert catalog.names()["cutout"] == "nas_augment.fixed:cutout"
    assert isinstance(catalog.policy("mine"), AugmentationPolicy)
