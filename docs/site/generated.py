"""The pages that are made from the code."""

from __future__ import annotations

import functools

from docs.site.api_pages import api_pages
from docs.site.command_page import command_page
from docs.site.layer_pages import layer_pages, message_page

__all__ = ["generated"]


@functools.cache
def generated() -> dict[str, str]:
    """Pages made from the code, path on the site -> Markdown."""
    return {
        **layer_pages(),
        **api_pages(),
        "reference/fields.md": message_page(),
        "reference/commands.md": command_page(),
    }
