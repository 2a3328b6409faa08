"""An agent that ignores its leases, for live tests: Python imports this module at its start where
its folder is on the path.

Nothing freezes when a lease ends, every answer and write goes out, and what arrays say of later
epochs when they renew is overlooked.
"""

import sys

if any("default_worker" in word for word in sys.orig_argv):
    from cluster.agent import renewals
    from cluster.agent.holdings import Holding

    setattr(Holding, "leased", lambda holding, now_s: True)  # noqa: B010
    setattr(renewals.Renewals, "freeze_ended", lambda renewals, now_s: None)  # noqa: B010
    setattr(renewals, "renewed", lambda *arguments, **named: [])  # noqa: B010
