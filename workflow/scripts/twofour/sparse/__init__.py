"""2:4 sparsity: the pattern, which layers get it, masks, permutation, and the checker."""
