"""Variance and cost of the estimators of a policy's gradient, on an enumerable policy and on a small network.

Usage: python benchmarks/bench_estimators.py [--repeats N]

All rows of a table estimate the same gradient of the same objective, the expected alignment of DAAS: the mean over the
images of <h, grad l_i>, with h the gradient of a validation loss. Needs no data: images and labels are random.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_augment import LearnablePolicy, Operation, PolicySample, Space, preset
from nas_augment.score_function import alignment, leave_one_out, score_surrogate

IMAGES = 64
Parameters = Mapping[str, Tensor]
Losses = Callable[[Parameters, Tensor], Tensor]


def flat_gradient(scalar: Tensor, policy: LearnablePolicy) -> Tensor:
    gradients = torch.autograd.grad(scalar, list(policy.parameters()))
    return torch.cat([gradient.flatten() for gradient in gradients])


def enumerated(draws: int = 16) -> None:
    """The variance of one draw, exactly: 144 policies of two of three operations at three levels."""
    operations = (Operation("Invert"), Operation("Rotate", 0, 30, "degrees"), Operation("Color", 0, 2, "factor"))
    policy = LearnablePolicy(Space("toy", operations, 3), count_void_levels=True).double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)
    every = policy.enumerate()
    log_prob = policy.log_prob(PolicySample((), len(every), every))
    probability = log_prob.detach().exp()
    scores = torch.stack([flat_gradient(each, policy) for each in policy_log_probs(policy, every)])
    rewards = torch.randn(len(every), generator=torch.Generator().manual_seed(2), dtype=torch.float64) + 3
    exact = (probability * rewards) @ scores

    def variance(credit: Tensor) -> float:
        return float(probability @ ((credit[:, None] * scores - exact) ** 2).sum(1))

    mean = probability @ rewards
    index = torch.multinomial(probability, 2**16 * draws, replacement=True, generator=generator).view(draws, -1)
    estimates, including = [], []
    for chunk in index.split(2**12, dim=1):
        credit = rewards[chunk] - leave_one_out(rewards[chunk])
        estimates.append((credit[..., None] * scores[chunk]).mean(0))
        biased = rewards[chunk] - rewards[chunk].mean(0)
        including.append((biased[..., None] * scores[chunk]).mean(0))
    found, wrong = torch.cat(estimates), torch.cat(including)
    print(f"\n{len(every)} policies enumerated; probabilities sum to 1 {float(probability.sum()) - 1:+.1e}")
    print("\n| baseline | variance of one draw |\n|---|---:|")
    print(f"| none | {variance(rewards):.2f} |")
    print(f"| the exact mean | {variance(rewards - mean):.2f} |")
    print(f"| leave one out, {draws} draws | {draws * float(found.var(0).sum()):.2f} |")
    z = (found.mean(0) - exact) / (found.std(0) / len(found) ** 0.5)
    ratio = float(wrong.mean(0) @ exact / (exact @ exact))
    print(f"\nLeave one out: largest |z| {float(z.nan_to_num().abs().max()):.2f}.")
    print(f"A mean with itself: {ratio:.4f} of the gradient; {draws - 1}/{draws} is {1 - 1 / draws:.4f}.")


def policy_log_probs(policy: LearnablePolicy, every: object) -> list[Tensor]:
    """The log-probability of every draw, each with a graph of its own."""
    sample = PolicySample((), len(every), every)  # type: ignore[arg-type]
    return [policy.log_prob(sample[n : n + 1])[0] for n in range(len(sample))]


def network(steps: int, images: Tensor, labels: Tensor) -> tuple[dict[str, Tensor], Losses, nn.Module]:
    """A network of two convolutions after `steps` of training, and its loss of every image."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10)
    )
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(net(scaled(images)), labels).backward()
        optimizer.step()

    def losses(parameters: Parameters, given: Tensor) -> Tensor:
        outputs = torch.func.functional_call(net, dict(parameters), (scaled(given),))
        return F.cross_entropy(outputs, labels.repeat(len(given) // len(labels)), reduction="none")

    return {name: value.detach() for name, value in net.named_parameters()}, losses, net


def scaled(images: Tensor) -> Tensor:
    return images.float() / 127.5 - 1


@dataclass
class Problem:
    """What all estimators share: `credit` gives the alignment of every image, or of every draw for the whole batch."""

    policy: LearnablePolicy
    images: Tensor
    parameters: Parameters
    direction: Parameters
    losses: Losses

    def per_batch(self, draws: int, baseline: str, generator: torch.Generator) -> Tensor:
        """DAAS as written: one draw for the whole batch, one backward pass for each draw."""
        sample = self.policy.sample(draws, generator=generator)
        each = sample[torch.arange(draws).repeat_interleave(IMAGES)]
        augmented = self.policy.apply(self.images.repeat(draws, 1, 1, 1), each)
        # Every draw has a forward pass of its own, so that its backward pass does not go through the others.
        parts = augmented.split(IMAGES)
        rewards = torch.cat([self._batch_aligned(part) for part in parts])
        if baseline == "clean":
            return self._gradient(sample, rewards, self._batch_aligned(self.images))
        return self._gradient(sample, rewards, baseline)

    def per_image(self, draws: int, baseline: str, method: str, generator: torch.Generator) -> Tensor:
        """A draw for every image, and the alignments of all images by one pass."""
        sample = self.policy.sample(draws * IMAGES, generator=generator)
        augmented = self.policy.apply(self.images.repeat(draws, 1, 1, 1), sample)
        rewards = self._aligned(lambda p: self.losses(p, augmented), method)
        if baseline == "clean":
            clean = self._aligned(lambda p: self.losses(p, self.images), method)
            return self._gradient(sample, rewards, clean.repeat(draws))
        if baseline == "same image":
            return self._gradient(sample, rewards, leave_one_out(rewards.view(draws, IMAGES)).flatten())
        return self._gradient(sample, rewards, baseline)

    def _batch_aligned(self, images: Tensor) -> Tensor:
        return self._aligned(lambda p: self.losses(p, images).mean()[None], "vjp")

    def _aligned(self, losses: Callable[[Parameters], Tensor], method: str) -> Tensor:
        return alignment(losses, self.parameters, self.direction, method)  # type: ignore[arg-type]

    def _gradient(self, sample: PolicySample, rewards: Tensor, baseline: Tensor | str) -> Tensor:
        surrogate = score_surrogate(self.policy.log_prob(sample), rewards, baseline)  # type: ignore[arg-type]
        return flat_gradient(surrogate, self.policy)


def problem(steps: int) -> Problem:
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(2 * IMAGES, 3, 8, 8, generator=generator)
    images = (F.interpolate(coarse, size=32, mode="bilinear") * 255).to(torch.uint8)
    labels = torch.randint(10, (2 * IMAGES,), generator=generator)
    parameters, losses, net = network(steps, images[:IMAGES], labels[:IMAGES])
    validation = F.cross_entropy(net(scaled(images[IMAGES:])), labels[IMAGES:])
    gradients = torch.autograd.grad(validation, list(net.parameters()))
    direction = dict(zip(parameters, gradients, strict=True))
    policy = LearnablePolicy(preset("fast_aa"), probability=1.0)
    return Problem(policy, images[:IMAGES], parameters, direction, losses)


WAYS: dict[str, Callable[[Problem, torch.Generator], Tensor]] = {
    "batch, 2 draws (DAAS as written)": lambda p, g: p.per_batch(2, "none", g),
    "batch, 2 draws, leave one out": lambda p, g: p.per_batch(2, "leave_one_out", g),
    "batch, 4 draws, leave one out": lambda p, g: p.per_batch(4, "leave_one_out", g),
    "batch, 2 draws, clean batch": lambda p, g: p.per_batch(2, "clean", g),
    "image, 1 draw, clean image": lambda p, g: p.per_image(1, "clean", "jvp", g),
    "image, 2 draws, leave one out of the image": lambda p, g: p.per_image(2, "same image", "jvp", g),
    "the same by finite differences": lambda p, g: p.per_image(2, "same image", "difference", g),
    "image, 1 draw, no baseline": lambda p, g: p.per_image(1, "none", "jvp", g),
    "image, 1 draw, leave one out of the batch": lambda p, g: p.per_image(1, "leave_one_out", "jvp", g),
}


def measured(steps: int, repeats: int) -> None:
    """Variance, time and their product, on a network after `steps` of training."""
    given = problem(steps)
    generator = torch.Generator().manual_seed(2)
    estimates: dict[str, list[Tensor]] = {name: [] for name in WAYS}
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(repeats):
        for name, way in WAYS.items():
            start = time.process_time()
            estimates[name].append(way(given, generator))
            seconds[name].append(time.process_time() - start)
    variance = {name: float(torch.stack(each).var(0).sum()) for name, each in estimates.items()}
    best = torch.stack(estimates["image, 2 draws, leave one out of the image"])
    # The square of an estimated mean is too large by its variance.
    signal = float(best.mean(0).square().sum()) - float(best.var(0).sum()) / repeats
    print(
        f"\nAfter {steps} steps; |gradient|^2 {signal:.2e}; {sum(p.numel() for p in given.policy.parameters())} logits\n"
    )
    print("| policy for each, baseline | variance | CPU ms | signal per second |\n|---|---:|---:|---:|")
    for name in WAYS:
        cost = statistics.median(seconds[name])
        print(f"| {name} | {variance[name]:.1e} | {1e3 * cost:.0f} | {signal / variance[name] / cost:.3g} |")
    sample = given.policy.sample(IMAGES, generator=generator)
    augmented = given.policy.apply(given.images, sample)
    jvp, difference = (
        alignment(lambda p: given.losses(p, augmented), given.parameters, given.direction, method)
        for method in ("jvp", "difference")
    )
    print(f"\nFinite differences differ from forward mode by {float((jvp - difference).norm() / jvp.norm()):.1e}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    enumerated()
    for steps in (3, 30):
        measured(steps, arguments.repeats)


if __name__ == "__main__":
    main()
