r"""Focal loss of one comment among two classes, and how a set of comments shares the effort.

Everything follows from the margin :math:`m = z_t - z_o`, the logit of the true class less that of the other:
:math:`p_t = 1/(1 + e^{-m})`. Working on margins keeps :math:`1 - p_t` exact where :math:`p_t` rounds to 1.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import expit

Vector = NDArray[np.float64]


def loss(margin: ArrayLike, gamma: float) -> Vector:
    r""":math:`FL = (1 - p_t)^\gamma \log(1/p_t)` (Lin et al., 2017, eq. 4; section 1.1 of the guide), in nats."""
    m = np.asarray(margin, float)
    return expit(-m) ** gamma * np.logaddexp(0, -m)


def pull(margin: ArrayLike, gamma: float) -> Vector:
    r"""Norm of the loss's gradient on the two logits.

    :math:`\partial FL/\partial z_t = -(1-p_t)^\gamma\,(1 - p_t - \gamma\,p_t \log p_t)`, and the same with the other
    sign on :math:`z_o`: the norm is :math:`\sqrt 2` times that number.
    """
    m = np.asarray(margin, float)
    miss = expit(-m)
    return np.sqrt(2) * miss**gamma * (miss + gamma * expit(m) * np.logaddexp(0, -m))


def rest(share: float, gamma: float) -> float:
    r"""Logit of class 1 at which the bias of a model that sees nothing else comes to rest, 1 being that common.

    Where the two classes pull equally, :math:`q\,P(z) = (1-q)\,P(-z)` with the `pull` :math:`P` and the share
    :math:`q`; for cross-entropy :math:`\log q/(1-q)`, for focal loss nearer to 0.

    Raises:
        ValueError: a share outside (0, 1).
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie in (0, 1), got {share}")
    return float(brentq(lambda z: np.log(share * pull(z, gamma)) - np.log((1 - share) * pull(-z, gamma)), -40, 40))


def hardest(margin: ArrayLike, share: float = 0.05) -> NDArray[np.bool_]:
    """Which comments are the hardest: the ``share`` with the smallest p_t, rounded up to whole comments.

    Raises:
        ValueError: a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], got {share}")
    m = np.asarray(margin, float)
    chosen = np.zeros(m.size, bool)
    count = int(np.ceil(share * m.size - 1e-9))  # 5 % of 1,000 is 50 although 0.05 * 1000 may round above it
    chosen[np.argsort(m, kind="stable")[:count]] = True
    return chosen


def share_of(values: ArrayLike, members: ArrayLike) -> float:
    """Sum over the members over the sum over all; NaN if that is 0."""
    v = np.asarray(values, float)
    total = v.sum()
    return float(v[np.asarray(members, bool)].sum() / total) if total else float("nan")


def weighted_share(share: ArrayLike, alpha: float) -> Vector:
    r"""Share of class 1 once its comments count :math:`\alpha` and the others :math:`1 - \alpha`.

    The odds of the share are multiplied by :math:`\alpha/(1-\alpha)`.
    """
    s = np.asarray(share, float)
    return np.asarray(alpha * s / (alpha * s + (1 - alpha) * (1 - s)))
