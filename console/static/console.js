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
    if (answer.status >= 500) found.detail = words("away");
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
/** A reason in words; where the provider told its own code, that as well (`rejected:21612`). */
export function reason(name) {
  const [why, ...code] = name.split(":");
  const plain = facts.reasons[why] || why;
  if (!code.length) return plain;
  const said = facts.codes[code.join(":")];
  return words(said ? "code_says" : "with_code", { reason: plain, code: code.join(":"), words: said });
}

const TOLD = [
  [/^there is no product (.+)$/, "no_product"],
  [/^(.+) is not sold$/, "not_sold"],
  [/^there is no campaign (.+)$/, "no_campaign"],
  [/^(?:there is no segment .*|there is no segment with this id|audience: .*no segment.*)$/, "no_segment"],
  [/^(\S+) stands twice$/, "twice"],
  [/^one without conditions needs a weight/, "needs_weight"],
  [/^must be 1 to 32 of /, "variant_name"],
  [/^must be after now/, "after_now"],
  [/^must be a whole number/, "whole_number"],
  [/^must be an amount of /, "an_amount"],
  [/^must be from (\S+) to (\S+)$/, "from_to"],
  [/^must go from the lower to the higher$/, "lower_first"],
  [/^(?:Input should be less than or equal to|must be at most) (\S+)$/, "at_most"],
  [/^Input should be greater than or equal to (\S+)$/, "at_least"],
  [/^String should have at most (\d+) characters$/, "too_long"],
  [/^(?:Input should be ''|String should match|must be a key)/, "campaign_key"],
  [/^(.+) submitted it: somebody else must approve it$/, "second_person"],
  [/^whoever submitted a broadcast does not approve it/, "second_person"],
  [/reaches (\d+) now: look at the preview again$/, "other_count"],
  [/^it begins just now/, "begins_now"],
  [/^(\d+) of the last (\d+) failed$/, "many_failed"],
  [/^an account can send nothing/, "account_dead"],
  [/^its audience has grown to (\d+), above the (\d+)/, "grown"],
  [/^its weekly broadcast was cancelled$/, "week_cancelled"],
  [/not a phone number$/, "no_phone"],
  [/there is no buyer with this id$/, "no_buyer"],
  [/said stop; only they can start again$/, "said_stop"],
  [/none of its accounts sends texts$/, "no_texts"],
  [/there is no account (\S+)/, "no_account"],
  [/^it is used by (.+)$/, "in_use"],
];

/** What the API says in English, in this page's language where it is one of its usual sentences. */
export function told(detail) {
  const state = /^a broadcast that is .* cannot be .*; (.+) made it (\w+) at (\S+)$/.exec(detail);
  if (state) return say(facts.told.other_state, { who: state[1], state: facts.states[state[2]] || state[2], at: moment(state[3]) });
  for (const [pattern, name] of TOLD) {
    const found = pattern.exec(detail);
    if (found) return say(facts.told[name], { 1: found[1], 2: found[2] });
  }
  return detail;
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

/** A day and a time by the shop's clock, with the day of the week. */
export function day(iso) {
  const format = { timeZone: facts.timezone, month: "short", day: "numeric", weekday: "short", hour: "2-digit", minute: "2-digit", hour12: false };
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
  for (const [name, n] of Object.entries(found.by_variant)) tally.append(make("li", { class: "note", text: versionTold(name, n) }));
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

const versionTold = (name, n) => (["", "rest"].includes(name) ? words("by_rest", { n: number(n) }) : words("by_variant", { n: number(n), name }));

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
