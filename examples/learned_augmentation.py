"""Learn an augmentation in an ordinary training loop. Needs nas-augment, torchvision and scikit-learn; seconds.

Digits to train on are upright, those to come are turned by 20 to 30 degrees; some turned ones are known, and validate. The policy
finds by what the two differ. docs/augmentation.md explains it.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F
from torchvision.transforms.functional import rotate

from nas_augment import LearnablePolicy, preset
from nas_augment.marginals import marginals
from nas_augment.score_function import alignment, daas_surrogate

torch.manual_seed(0)
pixels, labels = load_digits(return_X_y=True)
order = torch.randperm(1797)
images = torch.tensor(pixels * 255 / 16).round().to(torch.uint8).view(-1, 1, 8, 8)[order]
x, *turned = images.split([900, 450, 447])
y, y_valid, y_test = torch.tensor(labels)[order].split([900, 450, 447])
angles = iter(torch.empty(897).uniform_(20, 30) * torch.where(torch.rand(897) < 0.5, 1, -1))
x_valid, x_test = (torch.stack([rotate(image, float(next(angles))) for image in part]) for part in turned)


def train(learn: bool, steps: int = 300) -> tuple[float, LearnablePolicy]:
    """Accuracy on the turned test images, and the policy."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
    ).append(nn.Linear(512, 10))
    weights, generator = dict(model.named_parameters()), torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(weights.values(), lr=0.05, momentum=0.9)
    policy = LearnablePolicy(preset("fast_aa"), count=2, share="operation", per="image")
    policy_optimizer = torch.optim.Adam(policy.parameters(), lr=0.05)
    for _ in range(steps):
        take = torch.randint(len(x), (128,), generator=generator)
        batch, target = x[take] / 255, y[take]
        if learn:
            # Draws whose gradient points along that of the validation loss become likelier.
            sample = policy.sample(len(take), generator=generator)
            batch = policy.apply(x[take], sample) / 255
            look = torch.randint(len(x_valid), (128,), generator=generator)
            valid_loss = F.cross_entropy(model(x_valid[look] / 255), y_valid[look])
            direction = dict(zip(weights, torch.autograd.grad(valid_loss, list(weights.values())), strict=True))

            def losses(
                w: dict[str, torch.Tensor], batch: torch.Tensor = batch, target: torch.Tensor = target
            ) -> torch.Tensor:
                return F.cross_entropy(functional_call(model, w, batch), target, reduction="none")

            rewards = alignment(losses, weights, direction)
            policy_optimizer.zero_grad()
            daas_surrogate(policy.log_prob(sample), rewards, step_size=1.0).backward()
            policy_optimizer.step()
            # Up to here.
        optimizer.zero_grad()
        F.cross_entropy(model(batch), target).backward()
        optimizer.step()
    return (model(x_test / 255).argmax(1) == y_test).float().mean().item(), policy


if __name__ == "__main__":
    plain, (learned, policy) = train(False)[0], train(True)
    print(f"on turned digits: {plain:.1%} without, {learned:.1%} with the learned policy")
    found = marginals(policy)
    often = (found.chosen * found.applied).sum(0)
    for index in often.argsort(descending=True)[:3]:
        print(f"{policy.space.operations[index].name}: {often[index]:.2f} times an image")
