"""`python CLONE`, from any folder, and `python -m dragon` in the folder above a clone called `dragon`: runs the clone.

It need not be installed. Python takes the clone's folder for a package there, of which this file alone can be run.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.modules.pop("dragon", None)  # the folder

from dragon.tools.entry import main  # noqa: E402

if __name__ == "__main__":
    main()
