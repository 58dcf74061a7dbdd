"""``python -m aura_study`` is the command line."""

from aura_study.cli import main

if __name__ == "__main__":
    main()
