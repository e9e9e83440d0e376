"""From YAML to a checked plan, as plain data. Imports only the basics of `runtime`."""
