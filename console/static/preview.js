// What a preview tells: how many get it, wait, are skipped and why, the dearest text, the words of some.

import { facts, make, number, reason, words } from "./console.js";
import { finding } from "./told.js";

function amount(money) {
  if (!money || money === "unknown") return "";
  const value = money.amount.includes(".") ? money.amount.replace(/0+$/, "").replace(/\.$/, "") : money.amount;
  return `${value} ${money.currency}`;
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
