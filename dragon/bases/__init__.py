"""What layers are built on: the contract of a layer, its registry, and bases for families of layers."""
