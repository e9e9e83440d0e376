"""Training: losses, tasks and the loop that takes steps. Knows torch and the model, nothing of worlds or files of data.

A *task* holds what is trained and says how wrong it is (`codecs`, `interact`, `roll`); `loop` takes the steps,
`schedule` says how large, `state` keeps them.
"""
