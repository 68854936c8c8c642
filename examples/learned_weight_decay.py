"""Learn a weight decay for every pixel from validation images. Needs nas-hypergrad alone, and takes seconds.

One hundred train images are too few for the 640 weights of a linear classifier. 64 weight decays are too many for a grid, and
no trouble for a gradient: that of the validation loss with respect to the decays, through the trained weights.
"""

import torch
from digits import shuffled
from torch.nn import functional as F

from nas_hypergrad import BilevelProblem, Implicit, conjugate_gradient, fill_grad

images, labels = shuffled()
x, x_valid, x_test = images.split([100, 200, 1497])
y, y_valid, y_test = labels.split([100, 200, 1497])

problem = BilevelProblem(
    inner_loss=lambda w, a: F.cross_entropy(x @ w["w"], y) + (a["log_decay"].exp()[:, None] * w["w"] ** 2).sum(),
    outer_loss=lambda w, a: F.cross_entropy(x_valid @ w["w"], y_valid),
)


def train(learn: bool) -> float:
    """Test accuracy after an ordinary loop; the last three lines in it are all that learning the decays takes."""
    w = {"w": torch.zeros(64, 10, requires_grad=True)}
    a = {"log_decay": torch.full((64,), -7.0, requires_grad=True)}
    inner, outer = torch.optim.SGD(w.values(), lr=1.0), torch.optim.Adam(a.values(), lr=0.2)
    for step in range(600):
        inner.zero_grad()
        problem.inner_loss(w, a).backward()
        inner.step()
        if learn and step % 10 == 9:
            fill_grad(a, Implicit(conjugate_gradient(20))(problem, w, a))
            outer.step()
    return ((x_test @ w["w"]).argmax(1) == y_test).float().mean().item()


if __name__ == "__main__":
    print(f"test accuracy with one decay {100 * train(False):.2f} %, with 64 learned ones {100 * train(True):.2f} %")
