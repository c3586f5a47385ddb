"""What stands below the table, the plots and the page, here and in Snakemake's own report."""

from __future__ import annotations

PLOTS = {
    "training": "Loss and top-1 over the epochs. The sparse network starts from the pruned weights "
    "and uses the same hyper-parameters.",
    "models": "Top-1 of each model, and its throughput in each backend at each batch size, on "
    "synthetic input.",
    "layers": "Layer by layer: the share of the dense weights' magnitude that pruning kept, the "
    "density after retraining, and, where TensorRT was allowed sparse kernels, which layers run "
    "on one.",
}
OTHERS = {
    "comparison": "Accuracy and speed of each model in each backend, at each batch size. "
    "Accuracies are percent, top1_drop is in points below the dense model, speedup is throughput "
    "over that of the dense model in the same backend, precision and batch size.",
    "report": "Everything on one page: what the sparsity cost and bought, the table, the plots, "
    "the data, and what produced them.",
}
