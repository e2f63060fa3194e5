"""The site of the documents: `mkdocs.yml` names `hooks.py`, which adds the pages that are made from the code."""
