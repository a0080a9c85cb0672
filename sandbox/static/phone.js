// The phone page: draws what /sandbox/state.json says, once a second, and posts what the visitor does.
import { WORDS, plain } from "/sandbox/static/words.js";

const WAIT_FOR_ANSWER_MS = 4000;
const params = new URLSearchParams(location.search);
const wantsEnglish = params.get("lang") === "en" || (!params.get("lang") && !navigator.language.startsWith("zh"));
let lang = wantsEnglish ? "en" : "zh-CN";
let w = WORDS[lang];
let drawn = {};
let brand = "";
let zone = "Asia/Shanghai";
let shopName = "main";
let advanced = Number(sessionStorage.getItem("advanced") || 0);
const saidAt = {};

const $ = (id) => document.getElementById(id);
function el(tag, props = {}, ...children) {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children);
  return node;
}
const button = (label, onclick, className = "") => el("button", { type: "button", textContent: label, onclick, className });

async function post(path, body) {
  try {
    const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body || {}) });
    if (!answer.ok) {
      const problem = await answer.json().catch(() => ({}));
      toast(w.failed + (problem.detail || answer.status));
    }
  } catch {
    toast(w.offline);
  }
  await refresh();
}

function toast(text) {
  $("toast").textContent = text;
  $("toast").classList.add("on");
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => $("toast").classList.remove("on"), 6000);
}

function time(ms, withDay) {
  const day = withDay ? { weekday: "short", month: "short", day: "numeric" } : {};
  return new Date(ms).toLocaleString(lang === "en" ? "en-GB" : lang, { timeZone: zone, hour: "2-digit", minute: "2-digit", ...day });
}
const dayOf = (ms) => new Date(ms).toLocaleDateString(lang === "en" ? "en-GB" : lang, { timeZone: zone, month: "short", day: "numeric", weekday: "short" });

// --- phones ----------------------------------------------------------------------------------------------------------

function say(phone, body) {
  saidAt[phone.account] = Date.now();
  return post(`/sandbox/phones/${phone.account}/${encodeURIComponent(phone.id)}/say`, body);
}

function drawText(text) {
  const parts = text.split(/(https?:\/\/[\w.:/?=&%#-]+)/);
  return parts.map((part, i) => {
    if (i % 2 === 0) return part;
    const order = part.match(/\/sandbox\/pay\/([\w-]+)/);
    if (!order) return el("span", { className: "link", textContent: part });
    return button(part, () => post(`/sandbox/shops/${shopName}/pay`, { order: order[1] }), "link");
  });
}

function drawBubble(phone, message, isLast) {
  if (message.kind === "menu") return el("p", { className: "note", textContent: w.tapped + (w.menu[message.text] || message.text) });
  if (message.kind === "follow") return el("p", { className: "note", textContent: w.followed });
  const bubble = el("div", { className: `bubble ${message.kind}` });
  if (message.kind === "image") bubble.append(el("img", { src: message.image, alt: w.card }));
  else if (message.kind === "card") bubble.append(el("b", { textContent: message.title }), el("div", {}, ...drawText(message.text || "")));
  else bubble.append(...drawText(message.text || ""));
  for (const link of message.links || []) bubble.append(el("span", { className: "link row-link", textContent: link.label }));
  const line = el("div", { className: `line ${message.from}` }, bubble);
  if (message.choices && message.choices.length && (isLast || phone.type === "wechat")) {
    const choices = message.choices.map((choice) => button(choice.label, () => say(phone, { tap: choice.payload || choice.label })));
    line.append(el("div", { className: "choices" }, ...choices));
  }
  const state = message.from === "shop" && message.state ? " · " + (w.state[message.state] || message.state) : "";
  if (message.from !== "carrier") line.append(el("div", { className: `meta ${message.state}`, textContent: time(message.at) + state }));
  return line;
}

function drawChat(phone) {
  const chat = el("div", { className: "chat", tabIndex: 0 });
  chat.setAttribute("role", "log");
  chat.setAttribute("aria-label", w.kind[phone.type]);
  if (!phone.messages.length) chat.append(el("p", { className: "empty", textContent: w.empty[phone.type] }));
  let day = "";
  phone.messages.forEach((message, index) => {
    if (dayOf(message.at) !== day) {
      day = dayOf(message.at);
      chat.append(el("p", { className: "note", textContent: day }));
    }
    chat.append(drawBubble(phone, message, index === phone.messages.length - 1));
  });
  if (isTyping(phone)) {
    const dots = el("div", { className: "bubble dots" }, el("i"), el("i"), el("i"));
    dots.setAttribute("role", "img");
    dots.setAttribute("aria-label", w.typing);
    chat.append(el("div", { className: "line shop" }, dots));
  }
  return chat;
}

function isTyping(phone) {
  const last = phone.messages[phone.messages.length - 1];
  return Boolean(last && last.from === "buyer" && Date.now() - (saidAt[phone.account] || 0) < WAIT_FOR_ANSWER_MS);
}

function drawPhone(phone) {
  const input = el("input", { placeholder: w.placeholder, autocomplete: "off", maxLength: 1000, name: phone.account });
  input.setAttribute("aria-label", `${w.kind[phone.type]}: ${w.placeholder}`);
  const onsubmit = (event) => {
    event.preventDefault();
    const text = input.value.trim();
    input.value = "";
    if (text) say(phone, { text });
  };
  const top = el("div", { className: "top" }, el("span", { className: "face", textContent: brand.slice(0, 1), ariaHidden: "true" }), el("b", { textContent: brand }), el("span", { className: "sort", textContent: w.kind[phone.type] }));
  const parts = [top, drawChat(phone)];
  if (phone.type === "wechat") {
    parts.push(el("div", { className: "menu" }, ...Object.entries(w.menu).map(([key, label]) => button(label, () => say(phone, { tap: key })))));
  }
  parts.push(el("form", { className: "say", onsubmit }, input, el("button", { type: "submit", className: "main", textContent: w.send })));
  const article = el("article", { className: `phone ${phone.type}`, id: `phone-${phone.account}` }, ...parts);
  article.setAttribute("aria-label", w.kind[phone.type]);
  return article;
}

function placePhone(phone) {
  const old = $(`phone-${phone.account}`);
  const key = JSON.stringify([phone, lang, brand, isTyping(phone)]);
  if (old && drawn[phone.account] === key) return;
  drawn[phone.account] = key;
  const fresh = drawPhone(phone);
  const typed = old && old.querySelector("input");
  if (typed) fresh.querySelector("input").value = typed.value;
  const focused = old && old.contains(document.activeElement) ? document.activeElement : null;
  const menuKey = focused && focused.closest(".menu") ? [...focused.parentNode.children].indexOf(focused) : -1;
  if (old) old.replaceWith(fresh);
  else $("phones").append(fresh);
  if (focused) (menuKey >= 0 ? fresh.querySelectorAll(".menu button")[menuKey] : fresh.querySelector("input")).focus({ preventScroll: true });
  const chat = fresh.querySelector(".chat");
  chat.scrollTop = chat.scrollHeight;
}

// --- guide, decisions, orders ----------------------------------------------------------------------------------------

function drawGuide(state) {
  const said = state.phones.flatMap((phone) => phone.messages).filter((m) => m.from === "shop").map((m) => m.text || "");
  const orders = Object.values(state.shops).flat();
  const has = (...words) => said.some((text) => words.some((word) => text.includes(word)));
  const done = [
    has("会员卡已开通", "會員卡已開通", "member card is ready"),
    has("领到了", "領到了", "It's yours"),
    orders.length > 0,
    orders.length > 0 && advanced > 0,
    orders.some((order) => order.paid) && has("已收到付款", "已收到款項", "Payment received"),
  ];
  const now = done.findIndex((one) => !one);
  const key = JSON.stringify([done, lang]);
  if (drawn.guide === key) return;
  drawn.guide = key;
  $("guide").replaceChildren(...w.steps.map(([step], i) => {
    const item = el("li", { className: done[i] ? "done" : i === now ? "now" : "" }, el("span", { className: "mark", textContent: done[i] ? "✓" : String(i + 1) }), step);
    if (i === now) item.setAttribute("aria-current", "step");
    return item;
  }));
  $("hint").textContent = now < 0 ? w.allDone : w.steps[now][1];
}

function drawDecision(decision) {
  const why = [];
  if (decision.reason) why.push(plain(w.reason, decision.reason));
  if (decision.outcome !== "send") {
    const rules = decision.rules.filter((rule) => rule.verdict !== "allow").map((rule) => plain(w.rule, rule.rule));
    if (!decision.reason || decision.outcome === "defer") why.push(...new Set(rules));
  }
  const until = decision.outcome === "defer" && decision.until ? `${w.until} ${time(decision.until, true)}` : "";
  const facts = [time(decision.at, true), decision.account, plain(w.purpose, decision.purpose)].filter(Boolean).join(" · ");
  const item = el("li", {}, el("span", { className: `tag ${decision.outcome}`, textContent: w.outcome[decision.outcome] }), el("span", { className: "what", textContent: plain(w.key, decision.key || decision.source) }));
  const because = [until, ...why].filter(Boolean).join(lang === "en" ? ": " : "：");
  if (because) item.append(el("div", { className: "why", textContent: because }));
  item.append(el("div", { className: "meta", textContent: facts }));
  return item;
}

function drawSide(state) {
  const orders = Object.values(state.shops).flat().slice(0, 4);
  const key = JSON.stringify([state.decisions, orders, lang]);
  if (drawn.side === key) return;
  drawn.side = key;
  const decisions = state.decisions.slice(0, 60).map(drawDecision);
  $("decisions").replaceChildren(...(decisions.length ? decisions : [el("li", { className: "hint", textContent: w.noDecision })]));
  const rows = orders.map((order) => el("li", {}, el("b", { textContent: `#${order.id}` }), ` ${order.total.amount} ${order.total.currency} · ${w.order[order.state] || order.state}`));
  $("orders").replaceChildren(...(rows.length ? rows : [el("li", { textContent: w.noOrders })]));
}

// --- frame -----------------------------------------------------------------------------------------------------------

function frame() {
  document.documentElement.lang = lang;
  document.title = `Touchpoint · ${w.title}`;
  document.querySelectorAll("[data-t]").forEach((node) => { node.textContent = w[node.dataset.t]; });
  document.querySelectorAll("[data-label]").forEach((node) => { node.setAttribute("aria-label", w[node.dataset.label]); });
  $("lang").textContent = w.other;
  $("lang").setAttribute("aria-label", w.otherLabel);
  const moves = [[w.h1, { advance_s: 3600 }], [w.h2, { advance_s: 7200 }], [w.d1, { advance_s: 86400 }], [w.nextButton, { to: "next" }]];
  $("clock-buttons").replaceChildren(...moves.map(([label, body]) => button(label, async (event) => {
    const pressed = event.target;
    pressed.disabled = true;
    if ((body.advance_s || 0) >= 7200 || body.to) sessionStorage.setItem("advanced", String((advanced = 1)));
    await post("/sandbox/clock", body);
    pressed.disabled = pressed === $("clock-buttons").lastChild && $("next").textContent === w.none;
    pressed.focus();
  })));
  $("shop-buttons").replaceChildren(...Object.entries(w.verbs).map(([verb, label]) => button(label, () => post(`/sandbox/shops/${shopName}/${verb}`), verb === "place" ? "main" : "")));
  drawn = {};
}

async function refresh() {
  let state;
  try {
    const answer = await fetch("/sandbox/state.json");
    if (!answer.ok) throw new Error(String(answer.status));
    state = await answer.json();
  } catch {
    toast(w.offline);
    return;
  }
  brand = state.brand;
  zone = state.timezone || zone;
  shopName = Object.keys(state.shops)[0] || "main";
  $("now").textContent = time(state.now, true);
  $("next").textContent = state.next_due ? w.next + time(state.next_due, true) : w.none;
  $("clock-buttons").lastChild.disabled = !state.next_due;
  drawGuide(state);
  drawSide(state);
  state.phones.filter((phone) => phone.type !== "alibaba" || phone.messages.length).forEach(placePhone);
}

$("lang").onclick = () => {
  lang = lang === "en" ? "zh-CN" : "en";
  w = WORDS[lang];
  history.replaceState(null, "", "?lang=" + lang);
  frame();
  refresh();
};
frame();
refresh();
setInterval(refresh, 1000);
