"""``python -m aura_study`` and ``aura-study`` are the command line."""

import sys

from aura_study.errors import MissingExtra, require


def main() -> None:
    """Run the command line, if what it is made of is installed."""
    try:
        require("audit")
    except MissingExtra as error:
        sys.exit(f"error: {error}")
    from aura_study.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
