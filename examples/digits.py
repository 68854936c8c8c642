"""The digits of `data_cleaning.py`, read with torch alone, so that it needs nothing but nas-hypergrad.

``digits.csv.gz`` is the file that scikit-learn ships: the test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin
and C. Kaynak, UCI Machine Learning Repository, CC BY 4.0), 1,797 images of 8 x 8 pixels with values from 0 to 16.
"""

import gzip
from pathlib import Path

import torch
from torch import Tensor


def shuffled(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images ``(1797, 64)`` in [0, 1] and labels ``(1797,)``, in an order of this seed."""
    with gzip.open(Path(__file__).with_name("digits.csv.gz"), "rt") as file:
        rows = torch.tensor([[float(value) for value in line.split(",")] for line in file])
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    return rows[order, :64] / 16, rows[order, 64].long()
