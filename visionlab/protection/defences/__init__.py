"""What a model's owner can do about backdoors: eight checks and cures, each a small file, under one interface.

`CHECKS` lists those that look for a backdoor: a function from a `Case` to a `Finding`. The cures (`fine_pruning`,
`fine_tuning`, `preprocessing`) change the network or its input; they are checks as well, since they tell what it costs.
"""

from visionlab.protection.defences.case import CHECKS, Case, Finding, check

__all__ = ["CHECKS", "Case", "Finding", "check"]
