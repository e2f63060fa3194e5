"""Changes to batch normalisation that leave a net's results as they are (merge, split, fold), and checks of it."""
