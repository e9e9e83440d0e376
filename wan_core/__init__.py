"""The model. Knows torch only: nothing of graphs, packets, clocks or YAML."""
