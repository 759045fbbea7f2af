"""What every model is built of: attention, masks, rotary positions, norms, activations, dropout, remat."""
