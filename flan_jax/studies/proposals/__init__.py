"""Weights proposed from a fit, with the prediction and its interval before they run, and what was measured after."""
