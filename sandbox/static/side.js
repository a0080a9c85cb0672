// The side: the shop's orders and deeds, and what the gateway decided.
import { $, button, el, sync } from "/sandbox/static/dom.js";
import { plain } from "/sandbox/static/words.js";

const MOST_SHOWN = 60;
const ROAD = ["unpaid", "paid", "ship", "arrive", "out", "deliver", "complete"];
let filter = "all";

export function drawVerbs(page) {
  const w = page.w();
  const groups = w.groups.map(([name, verbs]) => {
    const buttons = verbs.map((verb) => button(w.verbs[verb], () => page.shop(verb), verb === "place" ? "main" : ""));
    buttons.forEach((node, i) => { node.dataset.verb = verbs[i]; });
    return el("div", { className: "verbs", role: "group", label: name }, el("span", { className: "group", textContent: name }), el("div", { className: "row" }, ...buttons));
  });
  $("shop-buttons").replaceChildren(...groups);
}

export function drawFilter(page, redraw) {
  const w = page.w();
  $("filter").replaceChildren(...["all", "defer", "skip"].map((kind) => {
    const node = button(kind === "all" ? w.all : w.outcome[kind], () => {
      filter = kind;
      drawFilter(page, redraw);
      redraw();
      $("filter").querySelector("[aria-pressed=true]").focus();
    });
    node.setAttribute("aria-pressed", String(filter === kind));
    return node;
  }));
}

export function drawOrders(state, page) {
  const w = page.w();
  const orders = Object.values(state.shops).flat().slice(0, 3);
  const rows = orders.map((order) => ({ key: order.id, sig: JSON.stringify([order, page.lang()]), make: () => orderNode(order, w) }));
  const none = { key: "none", sig: page.lang(), make: () => el("li", { className: "hint", textContent: w.noOrders }) };
  sync($("orders"), rows.length ? rows : [none]);
}

function orderNode(order, w) {
  const item = order.items[0] ? order.items[0].short_title || order.items[0].title : "";
  const state = order.refund ? w.order.refund : w.order[order.state] || order.state;
  const head = el("div", { className: "order-head" }, el("b", { textContent: `#${order.id}` }), el("span", { className: "item", dir: "auto", textContent: item }), el("span", { className: "sum", textContent: `${order.total.amount} ${order.total.currency}` }));
  const at = order.paid ? Math.max(1, ROAD.indexOf(order.state)) : ROAD.indexOf(order.state);
  const road = el("div", { className: "road", ariaHidden: "true" }, ...ROAD.map((_, i) => el("i", { className: i <= at ? "past" : "" })));
  return el("li", { className: "order" }, head, road, el("div", { className: "order-state", textContent: state }));
}

export function drawDecisions(state, page) {
  const w = page.w();
  const kept = state.decisions.filter((decision) => filter === "all" || decision.outcome === filter).slice(0, MOST_SHOWN);
  const alike = new Map();
  const rows = kept.map((decision) => {
    const name = `${decision.message} ${decision.key} ${decision.outcome} ${decision.at}`;
    alike.set(name, (alike.get(name) || 0) + 1);
    return { key: `${name} ${alike.get(name)}`, sig: JSON.stringify([decision, page.lang()]), make: () => decisionNode(decision, page) };
  });
  const none = { key: "none", sig: `${page.lang()} ${filter}`, make: () => el("li", { className: "hint", textContent: state.decisions.length ? w.noneOfThese : w.noDecision }) };
  sync($("decisions"), rows.length ? rows : [none]);
}

function decisionNode(decision, page) {
  const w = page.w();
  const tag = el("span", { className: `tag ${decision.outcome}`, textContent: `${w.sign[decision.outcome]} ${w.outcome[decision.outcome]}` });
  const what = el("span", { className: "what", textContent: plain(w.key, decision.what || decision.source) });
  const item = el("li", {}, el("div", { className: "decided" }, what, tag));
  const because = reasons(decision, page).join(page.lang() === "en" ? ": " : "：");
  if (because) item.append(el("div", { className: "why", textContent: because }));
  const lane = page.kindOf(decision.account);
  const facts = [page.time(decision.at, true), lane, plain(w.purpose, decision.purpose)].filter(Boolean);
  item.append(el("div", { className: "meta", textContent: facts.join(" · ") }));
  return item;
}

function reasons(decision, page) {
  const w = page.w();
  const why = [];
  if (decision.outcome === "defer" && decision.until) why.push(`${w.until} ${page.time(decision.until, true)}`);
  if (decision.reason) why.push(plain(w.reason, decision.reason));
  if (decision.outcome !== "send" && (!decision.reason || decision.outcome === "defer")) {
    why.push(...new Set(decision.rules.filter((rule) => rule.verdict !== "allow").map((rule) => plain(w.rule, rule.rule))));
  }
  return why;
}
