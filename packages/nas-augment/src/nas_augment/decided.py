"""A policy as a value: what a search ends with, what is saved, and what training uses."""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor

from nas_augment.errors import PolicyError, is_count
from nas_augment.policy import check_form

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from nas_augment.annotations import Annotated, AnnotationArguments
    from nas_augment.applying import Path
    from nas_augment.fixed import Stage

__all__ = ["Policy", "check_stages"]

_FORMAT, _VERSION = "nas-augment-policy", 1


@dataclass(frozen=True)
class Policy:
    """Transformations applied one after another to a batch of images.

    Args:
        stages: the transformations in order.

    Example:
        >>> from nas_augment.fixed import crop_and_flip
        >>> policy = crop_and_flip(padding=2).decide()
        >>> Policy.from_json(policy.to_json()) == policy
        True
    """

    stages: "tuple[Stage, ...]" = ()

    def __post_init__(self) -> None:
        check_stages(self.stages, tuple, "a tuple")

    @overload
    def apply(self, images: Tensor, *, generator: torch.Generator, path: "Path" = "exact") -> Tensor: ...

    @overload
    def apply(
        self,
        images: Tensor,
        *,
        generator: torch.Generator,
        path: "Path" = "exact",
        **annotations: "Unpack[AnnotationArguments]",
    ) -> "Annotated": ...

    def apply(
        self,
        images: Tensor,
        *,
        generator: torch.Generator,
        path: "Path" = "exact",
        **annotations: "Unpack[AnnotationArguments]",
    ) -> "Tensor | Annotated":
        """Augment `images` ``(batch, channels, height, width)``, each by a draw of its own.

        `path` is that of `applying.apply_operations`. Masks, boxes and key points go along: see
        `annotations.AnnotationArguments`; the result is `Annotated` then.
        """
        from nas_augment.fixed import FixedPolicy

        policy = FixedPolicy(self.stages)
        check_form(images)
        sample = policy.sample(len(images), generator=generator)
        return policy.apply(images, sample, path=path, **annotations)

    def to_torchvision(self, generator: torch.Generator | None = None) -> Any:
        """As a torchvision v2 transform of one image and its labels; see `export.to_torchvision`."""
        from nas_augment.export import to_torchvision

        return to_torchvision(self, generator)

    def to_kornia(self, generator: torch.Generator | None = None) -> torch.nn.Module:
        """As a module on kornia's functions for batches of floats; see `export.to_kornia`."""
        from nas_augment.export import to_kornia

        return to_kornia(self, generator)

    def to_json(self) -> str:
        """The policy as JSON text; `from_json` reads it back exactly.

        Raises:
            PolicyError: a stage is none of ours.
        """
        kinds: dict[Any, str] = {kind: name for name, kind in _kinds().items()}
        for stage in self.stages:
            if type(stage) not in kinds:
                raise PolicyError(
                    f"a stage of type {type(stage).__name__} has no place in a file; expected "
                    f"{', '.join(kind.__name__ for kind in kinds)}. Save your own stages by your own means."
                )
        stages = [{"name": kinds[type(stage)], **_settings(stage)} for stage in self.stages]
        return json.dumps({"format": _FORMAT, "version": _VERSION, "stages": stages})

    @staticmethod
    def from_json(text: str) -> "Policy":
        """Read a policy from JSON text.

        Raises:
            PolicyError: it is not JSON, not a policy, of another version, or has unknown or wrong settings.
        """
        if not isinstance(text, str):
            raise PolicyError(
                f"a policy is read from JSON text, not from {type(text).__name__}; pass what a file holds."
            )
        try:
            record = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise PolicyError(f"not JSON: {error}.") from error
        if not isinstance(record, dict) or record.get("format") != _FORMAT:
            raise PolicyError(f'expected a JSON object with "format": "{_FORMAT}".')
        if type(record.get("version")) is not int or record["version"] != _VERSION:
            raise PolicyError(f"policy of version {record.get('version')!r}; this release reads version {_VERSION}.")
        extra = set(record) - {"format", "version", "stages"}
        if extra or not isinstance(record.get("stages"), list):
            raise PolicyError(f"expected the keys format, version and stages (a list); unknown: {sorted(extra)}.")
        return Policy(tuple(_stage(stage) for stage in record["stages"]))


def check_stages(stages: Any, kind: type[Any], expected: str) -> None:
    """Refuse what are no stages.

    Raises:
        PolicyError: they are not of the expected kind, or one has no method apply.
    """
    if not isinstance(stages, kind):
        raise PolicyError(f"stages are {stages!r:.100}; expected {expected} of stages, such as (Crop(4), Flip()).")
    for stage in stages:
        is_one = callable(getattr(stage, "apply", None)) and is_count(getattr(stage, "numbers", -1))
        if not is_one or isinstance(stage, type):
            raise PolicyError(
                f"a stage is {stage!r:.100}; expected an object with numbers and a method apply(images, draw), such as "
                "Crop(4)."
            )


def _kinds() -> "dict[str, type[Stage]]":
    # Imported late: those modules end in a Policy, which is defined here.
    from nas_augment import fixed, stages

    return {
        "crop": fixed.Crop,
        "flip": fixed.Flip,
        "cutout": fixed.Cutout,
        "sub_policies": stages.SubPolicies,
        "uniform_operations": stages.UniformOperations,
    }


def _settings(stage: Any) -> dict[str, Any]:
    return stage.to_record() if hasattr(stage, "to_record") else asdict(stage)


def _stage(record: Any) -> "Stage":
    kinds = _kinds()
    if not isinstance(record, dict) or record.get("name") not in list(kinds):
        raise PolicyError(f"unknown stage {record!r:.200}; expected an object with a name among {', '.join(kinds)}.")
    kind: Any = kinds[record["name"]]
    settings = {key: value for key, value in record.items() if key != "name"}
    make = kind
    if hasattr(kind, "from_record"):
        make = kind.from_record
    elif wrong := {key: value for key, value in settings.items() if type(value) not in (int, float)}:
        raise PolicyError(f"stage {record['name']!r} has settings that are not numbers: {wrong}.")
    try:
        return make(**settings)
    except TypeError as error:
        raise PolicyError(f"stage {record['name']!r}: {error}.") from error
