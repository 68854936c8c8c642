"""The blocks of the documentation that need other frameworks or processes of their own, in real use of them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from documentation import Block, blocks
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from nas_augment import Policy, preset
from nas_augment.stages import Step, SubPolicies, SubPolicy
from nas_search.data_sources import digits

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "augmentation.md"
OF_ITS_OWN = [each for each in blocks(DOCS / "scaling.md") if "test_frameworks.py" in each.reason]
NEGATIVE = Policy((SubPolicies(preset("fast_aa"), (SubPolicy((Step("Invert", 1.0),)),)),))


def written(word: str, **names: Any) -> dict[str, Any]:
    """What the block of the page that has a word in it defines."""
    (block,) = [each for each in blocks(PAGE) if each.kind == "python" and word in each.text]
    exec(compile("\n" * block.line + block.text, PAGE.name, "exec"), names)
    return names


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")  # Lightning's, of torch and of what it would advise
def test_lightning_trains_on_augmented_images_and_validates_on_others(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning")
    classifier: Any = written("LightningModule", lightning=lightning, torch=torch)["Classifier"]
    data = digits()
    images = data.train.images[:64]
    seen: dict[str, list[Tensor]] = {"train": [], "valid": []}

    class Trained(classifier):  # type: ignore[misc]
        def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
            seen["train"].append(batch[0])
            return F.cross_entropy(self.network(batch[0] / 255), batch[1])

        def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
            seen["valid"].append(batch[0])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.network.parameters(), 0.1)

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, data.train.labels[:64]), 32)
    network = nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), 10))
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(Trained(network, NEGATIVE), loader, loader)
    assert torch.equal(torch.cat(seen["train"]), 255 - images)
    assert all(torch.isin(each, images).all() for each in seen["valid"])
    assert torch.equal(seen["valid"][-1], images[-32:])


@pytest.mark.nightly
def test_timm_crops_and_flips_before_the_policy_and_makes_floats_behind_it() -> None:
    timm = pytest.importorskip("timm")
    pytest.importorskip("timm.data")
    found = []
    for policy in (NEGATIVE, Policy()):
        transform = written("create_transform", timm=timm, policy=policy)["transform"]
        found.append(transform(Image.new("RGB", (300, 260), (255, 255, 255))))
    dark, bright = found
    assert dark.shape == bright.shape == (3, 224, 224)
    assert float(dark.max()) < 0 < float(bright.min())  # black and white, normalised


@pytest.mark.nightly
@pytest.mark.parametrize("block", OF_ITS_OWN, ids=lambda block: f"line {block.line}")
def test_blocks_with_processes_of_their_own_run(block: Block, tmp_path: Path) -> None:
    where = str(Path(sys.executable).parent)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PATH": where + os.pathsep + os.environ["PATH"]}
    if block.kind == "python":
        (tmp_path / "script.py").write_text(block.text)
        command = f"{sys.executable} script.py"
    else:
        command = "set -e\n" + block.text
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr


def test_there_are_such_blocks() -> None:
    assert len(OF_ITS_OWN) == 3
