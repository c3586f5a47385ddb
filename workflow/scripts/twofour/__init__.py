"""TwoFour: dense and 2:4 sparse image classifiers, trained, deployed and compared.

Its subpackages are called rooms, and each uses only those below it: report, deploy, train, sparse,
data, network, system. All of them may use ``models`` and ``artifacts`` (names); ``config``,
``stages`` and ``doctor`` are on top.
"""
