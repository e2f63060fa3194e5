"""Changes to nets and their weights that keep what they compute: merging, splitting and folding batch normalisation."""
