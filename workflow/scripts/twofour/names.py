"""The models of a run, in the order in which they are made and shown."""

DENSE, PRUNED, SPARSE = MODELS = ("dense", "pruned", "sparse")
