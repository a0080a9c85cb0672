"""What the API answers, as pydantic models: the shapes of `shapes.py`, described. Only the OpenAPI document reads them.

A test compares every answer with them: nothing may be missing, nothing may be there that is not described.
"""

from __future__ import annotations

from console.api.answers.accounts import Account, AlertOut
from console.api.answers.base import Accepted, Answer, Fault, MoneyOut, Page, Problem, Taken
from console.api.answers.broadcasts import BroadcastOut, Preview, Progress, TrialOut, Warned
from console.api.answers.buyers import (
    AddressOut,
    Buyer,
    ConsentOut,
    ErasedBuyer,
    Erasing,
    MemberOut,
    Merging,
    OrderBriefOut,
    Stats,
    TimelineLine,
)
from console.api.answers.campaigns import Campaign, Coupon, CouponBrief
from console.api.answers.export import Csv, Evidence, Export, JournalLine, Order, ShipmentOut
from console.api.answers.messages import Decision, Message, RuleOut, Step, Task
from console.api.answers.products import Product, Waiting
from console.api.answers.segments import Asked, Deleted, ExclusionOut, Segment, SegmentField, SegmentPreview

__all__ = [
    "Accepted",
    "Account",
    "AddressOut",
    "AlertOut",
    "Answer",
    "Asked",
    "BroadcastOut",
    "Buyer",
    "Campaign",
    "ConsentOut",
    "Coupon",
    "CouponBrief",
    "Csv",
    "Decision",
    "Deleted",
    "ErasedBuyer",
    "Erasing",
    "Evidence",
    "ExclusionOut",
    "Export",
    "Fault",
    "JournalLine",
    "MemberOut",
    "Merging",
    "Message",
    "MoneyOut",
    "Order",
    "OrderBriefOut",
    "Page",
    "Preview",
    "Problem",
    "Product",
    "Progress",
    "RuleOut",
    "Segment",
    "SegmentField",
    "SegmentPreview",
    "ShipmentOut",
    "Stats",
    "Step",
    "Taken",
    "Task",
    "TimelineLine",
    "TrialOut",
    "Waiting",
    "Warned",
]
