"""Segments: typed conditions over buyers, read strictly and compiled to SQL over the ledger's tables."""

from ledger.segments.conditions import EVERYBODY, Group, SegmentError, parse, parse_text
from ledger.segments.kinds import Moment
from ledger.segments.sql import where_of

__all__ = ["EVERYBODY", "Group", "Moment", "SegmentError", "parse", "parse_text", "where_of"]
