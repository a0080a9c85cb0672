// How long a text is, channel by channel, with long values in the place of its variables: as the gateway counts.

import { facts, make, words } from "./console.js";

const BASIC = new Set("@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà");
const EXTENDED = new Set("\f^{}\\[~]|€");

/** Parts of a text message, as bot/sms.py counts them. */
export function parts(text, mainland) {
  if (mainland) {
    const n = [...text].length;
    return [n, n <= 70 ? 1 : Math.ceil(n / 67)];
  }
  const sizes = [...text].map((c) => (BASIC.has(c) ? 1 : EXTENDED.has(c) ? 2 : 0));
  const gsm = sizes.every(Boolean);
  const units = gsm ? sizes : [...text].map((c) => c.length);
  const [alone, each] = gsm ? [160, 153] : [70, 67];
  const total = units.reduce((sum, size) => sum + size, 0);
  if (total <= alone) return [total, 1];
  let [count, used] = [1, 0];
  for (const size of units) {
    if (used + size > each) [count, used] = [count + 1, 0];
    used += size;
  }
  return [total, count];
}

function filled(text) {
  const long = (name, fallback) => {
    const value = facts.longest[name] ?? facts.longest[name.replace(/\d+$/, "")] ?? fallback ?? "";
    return value.length > (fallback || "").length ? value : fallback || value;
  };
  return text
    .replace(/\{%\s*else\s*%\}[\s\S]*?\{%\s*endif\s*%\}/g, "")
    .replace(/\{%.*?%\}/g, "")
    .replace(/\{\{\s*(\w+)\s*(?:\|\s*default\(\s*["'](.*?)["']\s*\)\s*)?\}\}/g, (_, name, fallback) => long(name, fallback));
}

function whole(lane, locale, text, marketing) {
  if (!lane.sms) return text;
  const brand = lane.signature || facts.brands[locale] || facts.brand;
  let made = text.startsWith("【") || text.startsWith(brand) ? text : locale.startsWith("zh") ? `【${brand}】${text}` : `${brand}: ${text}`;
  const ending = facts.endings[locale];
  if (marketing && !Object.values(facts.endings).some((one) => made.endsWith(one))) made = `${made.trimEnd()} ${ending}`;
  return made;
}

/** A line per chosen channel for the list beneath a text. */
export function lengths(typed, locale, accounts, marketing) {
  if (!typed.trim()) return [];
  return facts.lanes
    .filter((lane) => accounts.includes(lane.account) && lane.free_text)
    .map((lane) => {
      const text = whole(lane, locale, filled(typed), marketing);
      if (lane.sms) {
        const [length, n] = parts(text, lane.mainland);
        return make("li", { class: lane.limit && text.length > lane.limit ? "over" : n > 1 ? "more" : "", text: `${lane.account}: ${words("parts", { length, parts: n })}` });
      }
      const length = lane.bytes ? new TextEncoder().encode(text).length : [...text].length;
      return make("li", { class: lane.limit && length > lane.limit ? "over" : "", text: `${lane.account}: ${words(lane.bytes ? "bytes" : "length", { length, limit: lane.limit })}` });
    });
}
