"""The last parameters of kernels that end as terms.cuh says."""

from __future__ import annotations

__all__ = ["TOTAL"]

TOTAL = "real* parts, real* out, real* kept_divisor, int* out_of_range, int* arrived, real divisor"
