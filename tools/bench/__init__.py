"""``wangraph bench``: one benchmark a file, each printing the machine it ran on and every round.

`clock`, `overhead`, `duplex`, `prediction`, `agreement` and `hop` measure the runtime, `model` and `cache` the model
(`plain` is what the cache is measured against). `empty` and `bodies` hold the nodes that they run, `any_graph` draws
the graphs of `agreement`, `machine` and `report` hold what all share. `faults` harms runs: `fault_kinds` says how,
`fault_trial` does it, `fault_found` judges what is left of them, and `fault_nodes` misbehave.
Nothing here is estimated, and no test asserts a time.
"""
