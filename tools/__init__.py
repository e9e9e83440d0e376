"""The command line, the views and the benches."""
