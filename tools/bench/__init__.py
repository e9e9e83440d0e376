"""``wangraph bench``: one benchmark a file, each printing the machine it ran on and every round.

`clock`, `overhead`, `duplex`, `prediction` and `hop` measure the runtime, `model` and `cache` the model (`plain` is
what the cache is measured against). `empty` holds the nodes without bodies that they run, `machine` and `report` what
they share. Nothing here is estimated, and no test asserts a time.
"""
