"""Primitives of oneDNN by family, prepared from shapes and settings; no layer is known here."""
