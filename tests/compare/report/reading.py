"""A page as a browser reads it: its tags, texts and links, and whether every tag is closed."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = ("meta", "br", "input")


class Page(HTMLParser):
    """A parsed page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        """All that a reader sees, and the style."""
        return " ".join(" ".join(self.texts).split())

    @property
    def links(self) -> list[str]:
        """Where the page's links go."""
        return [attrs["href"] or "" for tag, attrs in self.tags if tag == "a"]

    def of_class(self, name: str) -> list[dict[str, str | None]]:
        """The attributes of all tags of a class."""
        return [attrs for _, attrs in self.tags if name in (attrs.get("class") or "").split()]
