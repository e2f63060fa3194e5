"""`python -m dragon`, the same as `dragon`."""

from dragon.tools.main import main

if __name__ == "__main__":
    main()
