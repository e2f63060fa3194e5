"""`python -m dragon`, the same as `dragon`."""

from dragon.tools.entry import main

if __name__ == "__main__":
    main()
