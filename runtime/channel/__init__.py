"""Packets between processes: headers over sockets, payloads in shared memory. Imports the basics only."""
