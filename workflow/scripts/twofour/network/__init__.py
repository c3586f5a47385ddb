"""The ResNet family: as data, as a PaddlePaddle graph, and its weights."""
