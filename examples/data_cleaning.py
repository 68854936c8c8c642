"""Find wrong labels: learn a weight for every train image from a few clean ones. Needs nas-hypergrad alone.

A third of the labels are drawn anew. The model is an ordinary module, trained by an ordinary optimiser.
"""

import torch
from digits import shuffled
from torch.nn import functional as F

from nas_hypergrad import BilevelProblem, Implicit, call_module, fill_grad, module_variables, neumann

images, labels = shuffled()
x, x_valid, x_test = images.split([1000, 200, 597])
truth, y_valid, y_test = labels.split([1000, 200, 597])
generator = torch.Generator().manual_seed(0)
drawn = torch.randint(10, (1000,), generator=generator)
y = torch.where(torch.rand(1000, generator=generator) < 0.35, drawn, truth)


def train(clean: bool) -> tuple[float, torch.Tensor]:
    """Test accuracy, and the weight of every train image in [0, 1]."""
    torch.manual_seed(0)
    model = torch.nn.Linear(64, 10)
    a = {"weight": torch.zeros(1000, requires_grad=True)}
    problem = BilevelProblem(
        inner_loss=lambda w, a: (
            F.cross_entropy(call_module(model, w, x), y, reduction="none") * a["weight"].sigmoid()
        ).mean(),
        outer_loss=lambda w, a: F.cross_entropy(call_module(model, w, x_valid), y_valid),
    )
    inner, outer = torch.optim.SGD(model.parameters(), lr=1.0), torch.optim.Adam(a.values(), lr=0.1)
    for step in range(400):
        inner.zero_grad()
        problem.inner_loss(module_variables(model), a).backward()
        inner.step()
        if clean and step % 5 == 4:
            fill_grad(a, Implicit(neumann(10, 1.0))(problem, module_variables(model), a))
            outer.step()
    return (model(x_test).argmax(1) == y_test).float().mean().item(), a["weight"].detach().sigmoid()


if __name__ == "__main__":
    before, (after, weight) = train(False)[0], train(True)
    wrong = y != truth
    print(f"test accuracy with all images alike {100 * before:.2f} %, with learned weights {100 * after:.2f} %")
    print(
        f"mean weight of rightly labelled images {weight[~wrong].mean():.2f}, of the others {weight[wrong].mean():.2f}"
    )
