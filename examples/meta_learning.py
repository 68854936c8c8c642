"""Learn where training begins: an initialisation from which a few steps on a few images are enough (MAML).

A task is to tell three digits apart, named 0, 1 and 2 in some order, from two images of each. The initialisation is the outer
variable, and the estimator differentiates through the five steps that a task is trained for. Tasks of training are made of the
digits 0 to 5, those of the test of 6 to 9, which were never seen. Needs nas-hypergrad alone, and takes seconds.

What is learned is worth about as much here as steps five times as long from a random start, which it prints too.
"""

import torch
from digits import shuffled
from torch import Tensor
from torch.nn import functional as F

from nas_hypergrad import BilevelProblem, Unrolled, fill_grad, sgd

Task = tuple[Tensor, Tensor, Tensor, Tensor]
images, labels = shuffled()
RATE, STEPS = 0.1, 5


def task(digits: range, generator: torch.Generator) -> Task:
    """Two images to learn from and ten to be judged by, of each of three digits."""
    chosen = torch.tensor(digits)[torch.randperm(len(digits), generator=generator)[:3]]
    taken = []
    for digit in chosen:
        found = (labels == digit).nonzero()[:, 0]
        taken.append(images[found[torch.randperm(len(found), generator=generator)[:12]]])
    learn, judge = (torch.cat([part[k] for part in taken]) for k in (slice(2), slice(2, None)))
    names = torch.arange(3)
    return learn, names.repeat_interleave(2), judge, names.repeat_interleave(10)


def logits(w: dict[str, Tensor], x: Tensor) -> Tensor:
    """A network with one hidden layer, of its weights."""
    return (x @ w["first"] + w["bias"]).relu() @ w["second"]


def start(generator: torch.Generator) -> dict[str, Tensor]:
    """A random initialisation."""
    first, second = torch.randn(64, 32, generator=generator) / 8, torch.randn(32, 3, generator=generator) / 32**0.5
    return {name: t.requires_grad_() for name, t in {"first": first, "bias": torch.zeros(32), "second": second}.items()}


def adapt(a: dict[str, Tensor], x: Tensor, y: Tensor, rate: float) -> dict[str, Tensor]:
    """The weights after the steps of a task, in a plain loop."""
    w = {name: value.detach().clone().requires_grad_() for name, value in a.items()}
    for _ in range(STEPS):
        gradients = torch.autograd.grad(F.cross_entropy(logits(w, x), y), list(w.values()))
        w = {name: (v - rate * g).detach().requires_grad_() for (name, v), g in zip(w.items(), gradients, strict=True)}
    return w


def accuracy(a: dict[str, Tensor], rate: float = RATE) -> float:
    """Mean over 200 tasks with digits that were never seen."""
    generator = torch.Generator().manual_seed(1)
    right = []
    for _ in range(200):
        x, y, x_judge, y_judge = task(range(6, 10), generator)
        right.append((logits(adapt(a, x, y, rate), x_judge).argmax(1) == y_judge).float().mean())
    return torch.stack(right).mean().item()


def main() -> None:
    """Learn the initialisation, and print what it is worth."""
    generator = torch.Generator().manual_seed(0)
    a = start(generator)
    before, longer = accuracy(a), accuracy(a, 5 * RATE)
    outer = torch.optim.Adam(a.values(), lr=1e-3)
    # The inner variables are the way from the initialisation: it begins at zero, so that all that is learned is `a`.
    zero = {name: torch.zeros_like(value) for name, value in a.items()}
    for _ in range(400):
        x, y, x_judge, y_judge = task(range(6), generator)
        problem = BilevelProblem(
            lambda w, a, x=x, y=y: F.cross_entropy(logits({k: a[k] + w[k] for k in a}, x), y),
            lambda w, a, x=x_judge, y=y_judge: F.cross_entropy(logits({k: a[k] + w[k] for k in a}, x), y),
        )
        fill_grad(a, Unrolled(sgd(RATE), steps=STEPS)(problem, zero, a))
        outer.step()
    print(f"accuracy on new digits from a random start {100 * before:.1f} %, with longer steps {100 * longer:.1f} %")
    print(f"from the learned start {100 * accuracy(a):.1f} %")


if __name__ == "__main__":
    main()
