"""Scores through the engine that ships."""
