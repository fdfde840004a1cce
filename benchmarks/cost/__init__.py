"""What networks cost: one way of measuring for ours and for those of other packages.

``measuring`` times a network behind a small interface and needs torch and ASE only, so that it runs in the environments
of other packages (``.ci/peers``); ``networks`` and ``packages`` hold the networks; ``worker`` is the process in which
one of them is measured; ``runs`` starts workers and keeps their answers.
"""
