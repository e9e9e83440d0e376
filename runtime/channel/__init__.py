"""Packets between processes: headers over sockets, payloads in shared memory or a device's. Imports the basics only."""
