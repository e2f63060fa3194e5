"""Changes to nets around batch normalisation, checks of them, and the registry by which experiments name them."""
