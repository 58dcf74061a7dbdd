"""One module per group of claims: parameters in, tidy tables and measurements out."""

import warnings

with warnings.catch_warnings():  # libraries' bars ask for notebook widgets as they are first imported; ours are text
    warnings.filterwarnings("ignore", message="IProgress not found")
    import tqdm.auto  # noqa: F401
