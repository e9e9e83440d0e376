"""Packets between processes: headers over ZeroMQ, payloads in shared memory. Imports the basics only."""
