"""Training steps on a constant batch: rounded_step.py WHO CASE BATCH.

WHO is plain, qat, or scaled: the limit of qat, in which whatever is rounded is multiplied instead.
"""

import sys

from twofour.quantization import fake

import networks
import numpy as np
import turns

SECONDS = 4  # per turn, roughly


class Scaled:
    """One pass over each tensor that is rounded, forwards and backwards: less is not possible."""

    average = False  # of ranges, which it has none of

    def weight(self, variable, axis):
        return self._scaled(variable)

    def activation(self, variable, name):
        return self._scaled(variable)

    def _scaled(self, variable):
        import paddle

        return paddle.scale(variable, 1.0001)


def main() -> None:
    who, case, batch = sys.argv[1], sys.argv[2], int(sys.argv[3])
    settings, network = networks.case(case)
    settings = networks.with_batch(settings, batch)
    from twofour.system import libraries
    from twofour.train import precision

    machine = libraries.start(settings.hardware, training=True)
    from twofour.network import architecture, graph, scope
    from twofour.train import training_graph
    from twofour.train.plan import Plan

    import paddle

    sections = (settings.seed, settings.data, settings.model, settings.train)
    chosen = precision.choose(settings.train.precision, machine)
    rounding = {"plain": None, "qat": fake.Rounding(), "scaled": Scaled()}[who]
    plan = Plan(*sections, network, machine, chosen, rounding=rounding)
    limits = plan.ranges if who == "qat" else []
    built = training_graph.build(plan, lambda update: 1e-4)
    place = graph.place("cpu")
    executor = paddle.static.Executor(place)
    built.start(executor, place)
    scope.write({name: np.full(1, 8.0, "float32") for name in limits}, place)
    size = settings.data.image_size
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch, size, size, 3)).astype("float32")
    feed = {
        architecture.IMAGES: images,
        training_graph.LABELS: rng.integers(0, network.classes, batch),
    }
    program = training_graph.runnable(built.main, "cpu")

    turns.serve(turns.timed(lambda: executor.run(program, feed=feed), batch, SECONDS))


if __name__ == "__main__":
    main()
