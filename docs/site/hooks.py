"""What mkdocs calls while it builds the site: adds generated pages, turns links, and completes the navigation."""

from __future__ import annotations

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs.site.generated import generated
from docs.site.navigation import complete
from docs.site.places import ROOT, TOP_PAGES, anchor, place_of, rewrite_links, zoo_pages

__all__ = ["on_config", "on_files", "on_page_markdown"]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Give headings the anchors that GitHub gives them, and the navigation what mkdocs.yml leaves out."""
    config.mdx_configs["toc"]["slugify"] = anchor
    config.nav = complete(config.nav or [])
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, those of the top folder and of the zoo, and the files that pages link to."""
    copied: set[str] = set()
    sources = {**TOP_PAGES, **zoo_pages()}
    for source, place in sources.items():
        if source != "README.md":
            text = (ROOT / source).read_text(encoding="utf-8")
            files.append(File.generated(config, place, content=rewrite_links(text, source, copied.add)))
    for path, text in generated().items():
        files.append(File.generated(config, path, content=text))
    for page in (ROOT / "docs").rglob("*.md"):
        rewrite_links(page.read_text(encoding="utf-8"), page.relative_to(ROOT).as_posix(), copied.add)
    for path in sorted(copied):
        if path not in sources and not path.startswith("docs/") and (ROOT / path).is_file():
            files.append(File.generated(config, place_of(path), abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the links of a page of docs/, which lead to files of the checkout."""
    if page.file.generated_by is not None:
        return markdown

    def check(path: str) -> None:
        if not (ROOT / path).is_file() and place_of(path) not in generated():
            raise PluginError(f"docs/{page.file.src_uri} links to {path}, which is not there")

    return rewrite_links(markdown, f"docs/{page.file.src_uri}", check)
