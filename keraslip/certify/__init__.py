"""Certificates: proved bounds of a trained network around one input."""
