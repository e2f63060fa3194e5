"""Python runs this in processes that have this folder on their path: matplotlib is not installed, as it seems there."""

from __future__ import annotations

import sys
from typing import Any, cast

cast("dict[str, Any]", sys.modules)["matplotlib"] = None
