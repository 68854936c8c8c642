"""Learn a weight decay for every input from validation images. Needs nas-hypergrad alone, and takes seconds.

Half of the 128 inputs are the pixels of a digit, the others are noise, and nobody says which. One hundred train images are
few for 1,280 weights. One decay for all is found by a grid; 128 of them are too many for one, and no trouble for a gradient: that
of the validation loss with respect to the decays, through the trained weights.
"""

import torch
from digits import shuffled
from torch.nn import functional as F

from nas_hypergrad import BilevelProblem, Implicit, conjugate_gradient, fill_grad

images, labels = shuffled()
inputs = torch.cat([images, torch.rand(images.shape, generator=torch.Generator().manual_seed(1))], dim=1)
x, x_valid, x_test = inputs.split([100, 200, 1497])
y, y_valid, y_test = labels.split([100, 200, 1497])

problem = BilevelProblem(
    inner_loss=lambda w, a: F.cross_entropy(x @ w["w"], y) + (a["log_decay"].exp()[:, None] * w["w"] ** 2).sum(),
    outer_loss=lambda w, a: F.cross_entropy(x_valid @ w["w"], y_valid),
)


def train(log_decay: float, learn: bool) -> tuple[float, float, torch.Tensor]:
    """Validation loss, test accuracy and decays after an ordinary loop; the last three lines in it are all that learning takes."""
    w = {"w": torch.zeros(128, 10, requires_grad=True)}
    a = {"log_decay": torch.full((128,), log_decay, requires_grad=True)}
    inner, outer = torch.optim.SGD(w.values(), lr=1.0), torch.optim.Adam(a.values(), lr=0.2)
    for step in range(600):
        inner.zero_grad()
        problem.inner_loss(w, a).backward()
        inner.step()
        if learn and step % 10 == 9:
            fill_grad(a, Implicit(conjugate_gradient(20))(problem, w, a))
            outer.step()
    accuracy = ((x_test @ w["w"]).argmax(1) == y_test).float().mean().item()
    return problem.outer_loss(w, a).item(), accuracy, a["log_decay"].detach()


if __name__ == "__main__":
    one = min(train(log_decay, False)[:2] for log_decay in (-9.0, -8.0, -7.0, -6.0, -5.0, -4.0))
    _, learned, decays = train(-7.0, True)
    print(f"test accuracy with the best single decay {100 * one[1]:.2f} %, with 128 learned ones {100 * learned:.2f} %")
    print(f"median logarithm of the decay of pixels {decays[:64].median():.1f}, of noise {decays[64:].median():.1f}")
