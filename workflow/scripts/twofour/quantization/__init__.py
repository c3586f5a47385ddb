"""8-bit integers: ranges of activations, files in which layers compute with them, their rules."""
