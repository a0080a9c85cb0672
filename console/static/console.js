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
    throw new Refused(0, { detail: words("offline") });
  }
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    if (answer.status === 401) found.detail = words("signed_out");
    if (answer.status === 409 && String(found.type).endsWith("#changed-meanwhile")) found.detail = words("someone_else");
    throw new Refused(answer.status, found);
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

export function amount(money) {
  if (!money || money === "unknown") return "";
  const value = money.amount.includes(".") ? money.amount.replace(/0+$/, "").replace(/\.$/, "") : money.amount;
  return `${value} ${money.currency}`;
}

export const number = (value) => new Intl.NumberFormat(facts.lang).format(value);
export const reason = (name) => facts.reasons[name] || name;

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

/** What the check of the words found, in this page's language. */
export function finding(one) {
  const rule = facts.rules[one.rule];
  if (!rule) return one.detail;
  const values = { ...one.args };
  if (values.locale) values.locale = facts.languages[values.locale] || values.locale;
  if (values.instead) values.instead = facts.languages[values.instead] || values.instead;
  if (values.unit) values.unit = facts.units[values.unit] || values.unit;
  return say(rule.replace(/\{\{/g, "\u0001").replace(/\}\}/g, "\u0002"), values).replace(/\u0001/g, "{").replace(/\u0002/g, "}");
}

/** What a preview tells, as a list of nodes. */
export function previewed(found) {
  const tally = make("ul", { class: "tally" });
  for (const [account, n] of Object.entries(found.would_send)) tally.append(make("li", { class: "send", text: words("would_send", { n: number(n), account }) }));
  for (const [why, n] of Object.entries(found.would_wait)) tally.append(make("li", { class: "wait", text: words("would_wait", { n: number(n), reason: reason(why || "waiting") }) }));
  for (const [why, n] of Object.entries(found.would_skip)) tally.append(make("li", { class: "skip", text: words("would_skip", { n: number(n), reason: reason(why) }) }));
  for (const [name, n] of Object.entries(found.without_value)) tally.append(make("li", { class: "note", text: words("without", { n: number(n), name: `{{ ${name} }}` }) }));
  for (const [name, n] of Object.entries(found.excluded)) tally.append(make("li", { class: "note", text: words("excluded", { n: number(n), name: facts.exclusions[name] || name }) }));
  if (found.holdout) tally.append(make("li", { class: "note", text: words("holdout", { n: number(found.holdout) }) }));
  if (found.needs_approval) tally.append(make("li", { class: "note", text: words("needs_approval", { limit: number(facts.approve_above) }) }));
  const nodes = [make("p", { class: "big", text: found.count ? words("count", { n: number(found.count) }) : words("count_none") })];
  if (found.looked_at < found.count) nodes.push(make("p", { class: "help", text: words("of_which", { n: number(found.looked_at) }) }));
  nodes.push(tally);
  const told = make("ul", { class: "found" });
  for (const one of found.faults) told.append(make("li", { class: "bad" }, make("b", { text: `${words("fault")}: ` }), finding(one)));
  for (const one of found.warnings) told.append(make("li", {}, make("b", { text: `${words("warning")}: ` }), finding(one)));
  nodes.push(told);
  if (found.cases.length) nodes.push(make("h2", { text: facts.preview.dearest }));
  for (const one of found.cases) nodes.push(dearest(one));
  if (found.sample.length) nodes.push(make("h2", { text: facts.preview.sample }), make("ul", { class: "sample" }, ...found.sample.map(sampled)));
  return nodes;
}

function dearest(one) {
  const counted = one.parts === null ? words(one.unit === "bytes" ? "bytes" : one.limit ? "length" : "chars", { length: one.length, limit: one.limit, n: one.length }) : words("parts", { length: one.length, parts: one.parts });
  const price = amount(one.per_part);
  const cost = one.parts === null ? "" : price ? words("cost", { per_part: price, cost: amount(one.cost) }) : words("cost_unknown");
  return make("div", { class: "sample" }, make("p", {}, make("b", { text: one.account }), ` · ${counted}`, cost ? ` · ${cost}` : ""), make("p", { class: "bubble", lang: one.locale || "zh-CN", text: one.text }));
}

function sampled(one) {
  const name = one.name || one.buyer;
  const mark = one.outcome === "send" ? one.account : one.outcome === "defer" ? reason(one.reason || "waiting") : reason(one.reason);
  const line = make("li", {}, make("div", { class: `state ${{ send: "sent", defer: "queued", skip: "skipped" }[one.outcome]}`, text: `${name} · ${mark}` }));
  if (one.text) line.append(make("p", { class: "bubble", text: one.text }));
  return line;
}
