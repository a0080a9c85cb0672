"""Where a buyer stands with the shop: the stages and their bounds, in days before now.

A last purchase over a year ago is far weaker than one within three months; the first thirty days are those of a new buyer.

never      no paid order
new        first paid order within 30 days
active     last order within 90 days
pre_churn  last order 90 to 365 days ago
asleep     last order over 365 days ago

Whoever paid at least once and orders again is counted by that order, paid or not, as the buyer's record does.
Computed when asked, from the times of the first and last order: it moves with the clock and needs no job.
"""

from __future__ import annotations

NEW_DAYS = 30
PRE_CHURN_DAYS = 90
ASLEEP_DAYS = 365
STAGES = ("never", "new", "active", "pre_churn", "asleep")
