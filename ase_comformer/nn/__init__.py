"""Networks: radial bases, attention and equivariant layers, the papers' networks and the default one."""
