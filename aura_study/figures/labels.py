"""Names of parameterisations and quantities as figures print them."""

from typing import Any

FORM_LABELS: dict[Any, str] = {
    "sigma": r"$\sigma$",
    "log_sigma": r"$s=\log\sigma$",
    "log_variance": r"$u=\log\sigma^2$",
    "aura_softplus": "AURA softplus",
    "log_one_plus_square": r"$\log(1+\sigma^2)$",
}
FORM_MARKERS: dict[Any, str] = {
    "sigma": "o",
    "log_sigma": "s",
    "log_variance": "^",
    "aura_softplus": "D",
    "log_one_plus_square": "v",
}


def form_label(name: Any) -> str:
    """Label of a parameterisation; its name, if none was chosen."""
    return FORM_LABELS.get(name, str(name))


def form_marker(name: Any) -> str:
    """Marker of a parameterisation, a plus if none was chosen."""
    return FORM_MARKERS.get(name, "P")
