"""What stands below the table, the plots and the page, here and in Snakemake's own report."""

from __future__ import annotations

PLOTS = {
    "tradeoff": "Accuracy against speed: a point for each model in each backend and precision, at "
    "its fastest batch size, with the 95 % interval of its top-1. Where several are "
    "surpassed by no other in both, a dashed line joins them.",
    "models": "Throughput of each model in each backend at each batch size, on synthetic input; "
    "the bars' lines are the 95 % intervals of the ratio to the dense model.",
    "classes": "Left: how sure the models are, against how often they are right; on the diagonal "
    "they are as sure as they should be (ECE: mean distance from it). Right: the classes whose "
    "recall changed most, filled where that is more than chance among so many classes.",
    "training": "Loss and top-1 over the epochs. The sparse network starts from the pruned weights "
    "and uses the same hyper-parameters. The validation loss may lie below the training loss: "
    "that one is of random crops, with smoothed labels, and averaged over an epoch in which the "
    "network still learns.",
    "layers": "Layer by layer: the share of the dense weights' magnitude that pruning kept, the "
    "density after retraining, and, where TensorRT was allowed sparse kernels, which layers run "
    "on one.",
}
OTHERS = {
    "comparison": "Accuracy and speed of each model in each backend, at each batch size. "
    "Accuracies are percent, top1_drop is in points below the model drop_against, speedup is "
    "throughput over that of the dense model in the same backend, precision and batch size.",
    "report": "Everything on one page: what the sparsity cost and bought, the table, the plots, "
    "the data, and what produced them.",
}
