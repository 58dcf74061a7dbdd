r"""Random numbers that depend only on (seed, stream, counter): SplitMix64 (Steele, Lea and Flood, 2014) as a hash.

A cell's draws are the same wherever and with whomever it is simulated, so a grid may be split in any way.
"""

import math
import os

import numpy as np
from numba import njit
from numpy.typing import NDArray

COMPILED = "AURA_STUDY_COMPILED"
"""Set by whoever has numba keep machine code where this code cannot have changed since: it looks at a function's own
file and at no other."""
# Division as IEEE 754 has it: Python's test for a zero divisor is a branch, which no vector instruction can hold.
compiled = njit(error_model="numpy", nogil=True, cache=COMPILED in os.environ)
copied = njit(error_model="numpy", nogil=True, inline="always")  # into its callers, instead of being called

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31, _S11 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(11)
_ONE = np.uint64(1)
_UNIT = 2.0**-53
_CENTRAL = 0.425  # |u - 1/2| up to which the centre's formula holds
# AS 241: numerators and denominators of the quantile's rational approximations, lowest coefficient first.
_CENTRE = (
    3.3871328727963666080e0,
    1.3314166789178437745e2,
    1.9715909503065514427e3,
    1.3731693765509461125e4,
    4.5921953931549871457e4,
    6.7265770927008700853e4,
    3.3430575583588128105e4,
    2.5090809287301226727e3,
)
_CENTRE_BELOW = (
    1.0,
    4.2313330701600911252e1,
    6.8718700749205790830e2,
    5.3941960214247511077e3,
    2.1213794301586595867e4,
    3.9307895800092710610e4,
    2.8729085735721942674e4,
    5.2264952788528545610e3,
)
_NEAR = (
    1.42343711074968357734e0,
    4.63033784615654529590e0,
    5.76949722146069140550e0,
    3.64784832476320460504e0,
    1.27045825245236838258e0,
    2.41780725177450611770e-1,
    2.27238449892691845833e-2,
    7.74545014278341407640e-4,
)
_NEAR_BELOW = (
    1.0,
    2.05319162663775882187e0,
    1.67638483018380384940e0,
    6.89767334985100004550e-1,
    1.48103976427480074590e-1,
    1.51986665636164571966e-2,
    5.47593808499534494600e-4,
    1.05075007164441684324e-9,
)
_FAR = (
    6.65790464350110377720e0,
    5.46378491116411436990e0,
    1.78482653991729133580e0,
    2.96560571828504891230e-1,
    2.65321895265761230930e-2,
    1.24266094738807843860e-3,
    2.71155556874348757815e-5,
    2.01033439929228813265e-7,
)
_FAR_BELOW = (
    1.0,
    5.99832206555887937690e-1,
    1.36929880922735805310e-1,
    1.48753612908506148525e-2,
    7.86869131145613259100e-4,
    1.84631831751005468180e-5,
    1.42151175831644588870e-7,
    2.04426310338993978564e-15,
)


@compiled
def mix(z: np.uint64) -> np.uint64:
    """SplitMix64's finaliser: a bijection of 64-bit words whose output looks random."""
    z = (z ^ (z >> _S30)) * _FIRST
    z = (z ^ (z >> _S27)) * _SECOND
    return z ^ (z >> _S31)


@compiled
def stream_key(seed: np.uint64, stream: np.uint64) -> np.uint64:
    """Start of the sequence of one stream under one seed."""
    return mix(mix(seed + GOLDEN) ^ (stream * GOLDEN + _ONE))


@compiled
def uniform(key: np.uint64, counter: np.uint64) -> float:
    """Draw number ``counter`` of the sequence ``key``, uniform on (0, 1]."""
    word = mix(key + (counter + _ONE) * GOLDEN)
    return (np.float64(word >> _S11) + 1.0) * _UNIT


@compiled
def normal(key: np.uint64, counter: np.uint64) -> float:
    """Draw number ``counter`` of the sequence ``key``, standard normal: the quantile of `uniform`."""
    u = uniform(key, counter)
    return _centre(u) if abs(u - 0.5) <= _CENTRAL else _tail(u)


@compiled
def quantiles(u: NDArray[np.float64], count: int, z: NDArray[np.float64], tails: NDArray[np.int64]) -> None:
    """Fill ``z[:count]`` with the standard normal quantiles of ``u[:count]``; ``tails`` is room for as many indices.

    Wichura's algorithm AS 241 (Applied Statistics 37, 1988), PPND16: relative error about 1e-16. One draw gives one
    normal, without the trigonometry of Box and Muller. The centre's formula has no branch, so that the compiler takes
    eight values at a time; the tails, three in twenty, are listed without a branch too and done again one by one.
    """
    listed = 0
    for i in range(count):
        z[i] = _centre(u[i])
    for i in range(count):
        tails[listed] = i
        listed += abs(u[i] - 0.5) > _CENTRAL
    for i in range(listed):
        z[tails[i]] = _tail(u[tails[i]])


@copied
def _centre(u: float) -> float:
    q = u - 0.5
    r = 0.180625 - q * q
    return q * _polynomial(r, _CENTRE) / _polynomial(r, _CENTRE_BELOW)


@compiled
def _tail(u: float) -> float:
    r = math.sqrt(-math.log(max(min(u, 1.0 - u), _UNIT / 2)))  # u may be 1 itself
    if r <= 5.0:
        z = _polynomial(r - 1.6, _NEAR) / _polynomial(r - 1.6, _NEAR_BELOW)
    else:
        z = _polynomial(r - 5.0, _FAR) / _polynomial(r - 5.0, _FAR_BELOW)
    return -z if u < 0.5 else z


@copied
def _polynomial(x: float, c: tuple[float, ...]) -> float:
    """Degree 7, lowest coefficient first."""
    return ((((((c[7] * x + c[6]) * x + c[5]) * x + c[4]) * x + c[3]) * x + c[2]) * x + c[1]) * x + c[0]
