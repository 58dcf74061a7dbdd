"""Closed forms that predict the measurements, in numpy and scipy alone.

===============  ========================================================================================
`forms`          weights, regularisers and slopes of the five parameterisations; the absent gradient
`optimizers`     settings of SGD, Adam and AdamW
`schedules`      learning-rate sequences, the phantom number
`flow`           gradient flow of the regulariser alone
`absence`        trajectory over an absent stretch, momentum's and Adam's phantom number, collapse of the sigma form
`adam`           directions for known gradients, warm start, coasting
`coasting`       how far momentum and weight decay carry a parameter whose gradient is exactly 0
`fixed_points`   where sigma settles, with and without presence p, and how stiffly
`presence`       inflation and time-average weight of a task that comes and goes
`fluctuations`   jitter of the weight about its fixed point, the rate that keeps it small, Adam's memory there
`shards`         fixed points under gradient accumulation and data parallelism
`recovery`       overshoot of the returning task and the way back
`solved`         a present task's loss on its way to a clamp's floor, and Kendall's sigma beside it
===============  ========================================================================================
"""
