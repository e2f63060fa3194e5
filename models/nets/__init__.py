"""The nets of the zoo, a file for each family; each file lists its models in MODELS."""
