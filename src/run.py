"""Run vlmatch from a checkout: `python src/run.py encoder=siglip multirun`."""

from vlmatch.cli import main

if __name__ == "__main__":
    main()
