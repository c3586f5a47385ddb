"""TwoFour: dense and 2:4 sparse image classifiers, trained, deployed and compared.

The package is made of rooms, each of which uses only those below it: report, deploy, train,
sparse, data, network, system. ``models`` and ``artifacts`` (names) are for all of them; ``config``,
``stages`` and ``doctor`` stand on top.
"""
