"""Linear CKA: the textbook's formula, its invariances, and what it says of unrelated representations."""

import numpy as np
import pytest
import torch

from aura_study.experiments.pretraining.cka import linear_cka


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 12, generator=generator, dtype=torch.float64)
    return x, x[:, :7] + torch.randn(40, 7, generator=generator, dtype=torch.float64)


def textbook_hsic(k: torch.Tensor, other: torch.Tensor) -> float:
    """Song et al. (2012), equation 5, written out over Gram matrices."""
    n = len(k)
    k, other = k - torch.diag(k.diag()), other - torch.diag(other.diag())
    ones = torch.ones(n, dtype=k.dtype)
    sums = (ones @ k @ ones) * (ones @ other @ ones) / ((n - 1) * (n - 2)) - 2 / (n - 2) * ones @ k @ other @ ones
    return float((torch.trace(k @ other) + sums) / (n * (n - 3)))


def test_linear_cka_is_the_textbooks(pair):
    """Without a Gram matrix, the value that Gram matrices give, to 1e-12."""
    k, other = (rows @ rows.T for rows in pair)
    expected = textbook_hsic(k, other) / np.sqrt(textbook_hsic(k, k) * textbook_hsic(other, other))
    assert linear_cka(*pair) == pytest.approx(expected, rel=1e-12)
    assert 0.2 < expected < 0.9


def test_rotation_shift_and_scale_change_nothing_and_stretching_does(pair):
    """Invariant under what leaves the geometry alone; not under a linear map that bends it."""
    x, y = pair
    rotation = torch.linalg.qr(torch.randn(12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))[0]
    assert linear_cka(x, x) == pytest.approx(1)
    assert linear_cka(3 * x @ rotation + 5, y) == pytest.approx(linear_cka(x, y), rel=1e-9)
    assert linear_cka(y, x) == pytest.approx(linear_cka(x, y))
    assert linear_cka(x * torch.linspace(0.1, 3, 12), x) < 0.95


def test_unrelated_representations_give_zero_on_average():
    """Wide random representations of few rows: no bias, where the plain estimate would be near 1."""
    generator = torch.Generator().manual_seed(2)
    pairs = (torch.randn(2, 20, 50, generator=generator) for _ in range(200))
    found = [linear_cka(first, second) for first, second in pairs]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found))


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (torch.ones(3, 2), torch.ones(3, 2), "at least 4"),
        (torch.ones(5, 2), torch.ones(6, 2), r"\(5, 2\) and \(6, 2\)"),
        (torch.ones(5, 2), torch.ones(5, 2), "does not tell its rows apart"),
    ],
)
def test_what_cannot_be_compared_is_named(first, second, message):
    """Too few rows, unequal rows, and a constant representation."""
    with pytest.raises(ValueError, match=message):
        linear_cka(first, second)
