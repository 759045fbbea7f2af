"""Whether held-out data is also trained on, by data set and by record."""
