"""Weights that change while a run trains: learned by a method, or given for its stages."""
