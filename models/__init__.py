"""The zoo: nets with their solvers, and the program that writes their prototxt files."""
