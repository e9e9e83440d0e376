"""Memory of devices: what is asked of one, a GPU by cupy, and a stand-in for machines without."""
