"""Published potentials of other packages, each at work in an environment of its own that ``.ci/peers`` makes."""
