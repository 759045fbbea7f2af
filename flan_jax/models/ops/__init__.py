"""Operations that all models share: attention, masks, RoPE, norms, activations, dropout, remat."""
