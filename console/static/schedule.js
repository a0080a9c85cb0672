// When it goes: times on the shop's clock, whatever the browser's is, and the dates that a weekly one has before it.

import { facts } from "./console.js";

const DAY_MS = 86_400_000;
const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const shown = (at, timeStyle) => new Intl.DateTimeFormat("sv-SE", { timeZone: facts.timezone, dateStyle: "short", timeStyle }).format(new Date(at));

/** The instant (ms) at which the shop's clock shows a wall time (`2026-12-02T10:00`). */
function at(wall) {
  const asUtc = Date.parse(`${wall}Z`);
  const offset = (when) => Date.parse(`${shown(when, "medium").replace(" ", "T")}Z`) - when;
  return asUtc - offset(asUtc - offset(asUtc));
}
export const instant = (wall) => new Date(at(wall)).toISOString().replace(".000Z", "Z");
export const wall = (iso) => shown(iso, "short").replace(" ", "T");

/** The next times (ISO) of a weekly one after `from` (ms): at most `most`, none after `until` (a day, "" for no end). */
export function rounds({ weekday, time, until }, from, most) {
  if (!time) return [];
  const found = [];
  const last = until ? at(`${until}T23:59`) : Infinity;
  const today = Date.parse(`${shown(from, "short").slice(0, 10)}T00:00Z`);
  for (let day = 0; day < 7 * (most + 1) && found.length < most; day += 1) {
    const date = new Date(today + day * DAY_MS);
    if ((date.getUTCDay() + 6) % 7 !== DAYS.indexOf(weekday)) continue;
    const when = at(`${date.toISOString().slice(0, 10)}T${time}`);
    if (when > last) break;
    if (when >= from) found.push(new Date(when).toISOString());
  }
  return found;
}
