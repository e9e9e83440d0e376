"""``wangraph bench``: one benchmark a file, each printing the machine it ran on and every round.

`clock`, `overhead`, `duplex`, `prediction`, `agreement` and `hop` measure the runtime, `model` and `cache` the model
(`plain` is what the cache is measured against). `empty` and `bodies` hold the nodes that they run, `any_graph` draws
the graphs of `agreement`, `machine` and `report` hold what all share.
Nothing here is estimated, and no test asserts a time.
"""
