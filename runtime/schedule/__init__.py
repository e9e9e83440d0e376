"""The pure scheduler: events in, decisions out. No threads, no clocks, no sockets. Imports `plan` and the basics."""
