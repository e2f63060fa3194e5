"""Nets in the forms of other programs: what is left of a net for deployment, and one package for each form."""
