"""Linear centred kernel alignment: how alike two sets of hidden states of the same tokens are."""

from torch import Tensor


def linear_cka(first: Tensor, second: Tensor) -> float:
    r"""Debiased linear CKA of two representations of the same ``n`` examples.

    With Gram matrices :math:`K = XX^\top`, :math:`L = YY^\top` it is
    :math:`\mathrm{HSIC}(K, L) / \sqrt{\mathrm{HSIC}(K, K)\,\mathrm{HSIC}(L, L)}` (Kornblith et al. 2019, equation 4),
    where HSIC is the unbiased estimate of Song et al. (2012, equation 5), so that unrelated representations give 0 on
    average whatever their width. 1 for equal representations; unchanged by rotation, shift and a common scale of
    either. No Gram matrix is formed: time grows with ``n``, not with its square.

    Args:
        first: ``(n, features)``, n >= 4.
        second: ``(n, other features)``.

    Raises:
        ValueError: numbers of examples that differ or lie below 4, or a representation that is the same everywhere.
    """
    if first.ndim != 2 or second.ndim != 2 or len(first) != len(second) or len(first) < 4:
        raise ValueError(
            "CKA compares two matrices with the same number of rows, at least 4, "
            f"got shapes {tuple(first.shape)} and {tuple(second.shape)}"
        )
    x, y = _centred(first), _centred(second)
    scale = _hsic(x, x) * _hsic(y, y)
    if not scale > 0:
        raise ValueError("CKA is undefined for a representation that does not tell its rows apart")
    return float(_hsic(x, y) / scale.sqrt())


def _centred(rows: Tensor) -> Tensor:
    rows = rows.double()
    return rows - rows.mean(0)  # HSIC does not change, and large offsets cost no digits


def _hsic(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased HSIC, with tilde K = K without its diagonal: tr(KL) + (1'K1)(1'L1)/((n-1)(n-2)) - 2/(n-2) 1'KL1."""
    n = len(x)
    own_x, own_y = x.square().sum(1), y.square().sum(1)
    sums_x, sums_y = x @ x.sum(0) - own_x, y @ y.sum(0) - own_y
    trace = (x.T @ y).square().sum() - own_x @ own_y
    found = trace + sums_x.sum() * sums_y.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * sums_x @ sums_y
    return found / (n * (n - 3))
