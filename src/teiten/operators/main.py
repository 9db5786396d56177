"""``teiten-operator``: the operator's own keys and signatures, on the operator's own machine."""
