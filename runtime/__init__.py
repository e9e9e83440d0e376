"""Runs any graph; knows no node and no model.

engine    processes, lanes, supervisor: the threads, clocks and sockets
  |-> schedule   the pure scheduler: events in, decisions out
  |     |-> plan      spec, ports, check, timing: from YAML to plain data, pure
  |-> channel    how packets travel: by reference, shared memory, inline
        |-> packet, node, ports, units, errors   what everything is made of
"""
