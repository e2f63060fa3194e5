"""The base class of layers, the registry of layer types, and base classes and helpers for families of layers."""
