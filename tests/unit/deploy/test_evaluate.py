"""What one line says of all builds of a model."""

from twofour.deploy import evaluate


def test_the_range_of_each_precision_is_named_where_it_shows():
    top1 = {"fp32": [98.0114, 98.0114], "int8": [98.3, 97.734]}
    assert evaluate.summary(top1) == "98.01 % fp32, 97.73–98.30 % int8"
