// What the pages share: the API with this session, words with their values, and small DOM building.

export const facts = JSON.parse(document.getElementById("data").textContent);
const csrf = document.body.dataset.csrf;

export const $ = (id) => document.getElementById(id);

/** A text with its values: `{n} buyers`. */
export function say(text, values = {}) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}
export const words = (name, values) => say(facts.words[name], values);

/** An element with attributes and children; `text` is never read as HTML. */
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === undefined || value === null) continue;
    if (name === "text") made.textContent = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** What the API answers. Throws Refused for a problem, with the fields at fault. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || "");
    this.status = status;
    this.kind = String(problem.type || "").split("#").pop();
    this.errors = problem.errors || [];
    this.ours = Boolean(problem.ours); // its words are this page's already
  }
}

export async function api(method, path, body) {
  let answer;
  const headers = { Accept: "application/json" };
  if (method !== "GET") headers["X-CSRF-Token"] = csrf;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  try {
    answer = await fetch(`/api/v1${path}`, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), credentials: "same-origin" });
  } catch {
    throw new Refused(0, { detail: words("offline"), ours: true });
  }
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const changed = String(found.type).endsWith("#changed-meanwhile");
    const said = answer.status === 401 ? "signed_out" : answer.status >= 500 ? "away" : answer.status === 409 && changed ? "someone_else" : "";
    throw new Refused(answer.status, said ? { ...found, detail: words(said), errors: [], ours: true } : found);
  }
  return found;
}

let fading;
/** A line at the foot of the page. */
export function tell(text, bad = false) {
  const told = $("told");
  told.textContent = text;
  told.classList.toggle("bad", bad);
  clearTimeout(fading);
  fading = setTimeout(() => (told.textContent = ""), bad ? 12000 : 4000);
}

export const number = (value) => new Intl.NumberFormat(facts.lang).format(value);
/** A reason in words; where the provider told its own code, that as well (`rejected:21612`). */
export function reason(name) {
  const [why, ...code] = name.split(":");
  const plain = facts.reasons[why] || why;
  if (!code.length) return plain;
  const said = facts.codes[code.join(":")];
  return words(said ? "code_says" : "with_code", { reason: plain, code: code.join(":"), words: said });
}

export function span(seconds) {
  if (seconds < 90) return words("seconds", { n: Math.round(seconds) });
  if (seconds < 5400) return words("minutes", { n: Math.round(seconds / 60) });
  return words("hours", { n: Math.round(seconds / 360) / 10 });
}

/** A moment by the shop's clock. */
export function moment(iso) {
  const format = { timeZone: facts.timezone, month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hour12: false };
  return new Intl.DateTimeFormat(facts.lang, format).format(new Date(iso));
}

/** A moment with its year and seconds, by the shop's clock. */
export function stamp(iso) {
  return new Intl.DateTimeFormat(facts.lang, { timeZone: facts.timezone, dateStyle: "medium", timeStyle: "medium", hour12: false }).format(new Date(iso));
}

/** A day and a time by the shop's clock, with the day of the week. */
export function day(iso) {
  const format = { timeZone: facts.timezone, month: "short", day: "numeric", weekday: "short", hour: "2-digit", minute: "2-digit", hour12: false };
  return new Intl.DateTimeFormat(facts.lang, format).format(new Date(iso));
}
