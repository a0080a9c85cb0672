"""The look that the plain pages share: colour, type and the head from one set of tokens, light and dark."""

from __future__ import annotations

BASE = """
:root{--ground:#f4f6f6;--panel:#fff;--ink:#1a2024;--soft:#59646c;--line:#dbe1e3;--accent:#1c6b58;--accent-ink:#fff;--fail:#b3261e;
font:14px/20px system-ui,"PingFang SC","Noto Sans SC","Noto Sans CJK SC","Microsoft YaHei",sans-serif;text-autospace:normal;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--ground:#14181b;--panel:#1c2226;--ink:#e6ebed;--soft:#a2adb4;--line:#333c42;
--accent:#6fcdb4;--accent-ink:#0c1613;--fail:#ff8f87}}
*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink)}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}a{color:var(--accent)}
header{display:flex;gap:16px;align-items:center;padding:12px 20px;border-bottom:1px solid var(--line);background:var(--panel)}
header b{color:var(--accent)}header span{flex:1;color:var(--soft);overflow:hidden;text-overflow:ellipsis;white-space:nowrap}header a{color:var(--soft);text-decoration:none;padding:6px 0}
"""
