"use strict";
// The phone page: draws what /sandbox/state.json says, once a second, and posts what the visitor does.

const WORDS = {
  "zh-CN": {
    title: "沙盒：三部手机，一位买家", clock: "时钟", shop: "店铺系统", decisions: "网关决定了什么，为什么",
    other: "English", send: "发送", placeholder: "以买家身份说点什么", next: "下一件事：", none: "没有定时的事",
    h1: "+1 小时", h2: "+2 小时", d1: "+1 天", nextButton: "到下一件事",
    verbs: { place: "下单", pay: "付款", cancel: "取消", ship: "发货", arrive: "到城市", out: "派送", deliver: "签收", refund: "申请退款", abandon: "弃购物车" },
    empty: { wechat: "说“会员”办一张会员卡，或点下面的菜单。", messenger: "说“会员”或 member，换个渠道也是同一位买家。", twilio: "短信：发“会员”，回 1 就办好。", alibaba: "这条线路只发审批过的模板短信。" },
    kind: { wechat: "微信服务号", messenger: "Messenger", twilio: "短信", alibaba: "模板短信（阿里云）" },
    steps: ["说“会员”办卡", "领一张券", "下一个订单", "把钟拨 +2 小时", "收到催付后付款"],
    outcome: { send: "发出", defer: "稍后", skip: "不发" }, until: "等到", noDecision: "买家说话或店铺有动静后，这里逐条写出发没发、为什么。",
    state: { sent: "已发", delivered: "送达", read: "已读" }, failed: "没有成功：", offline: "连不上网关，正在重试…",
    order: { unpaid: "待付款", paid: "已付款", cancelled: "已取消", ship: "已发货", arrive: "到城市", out: "派送中", deliver: "已签收" },
  },
  en: {
    title: "Sandbox: three phones, one buyer", clock: "Clock", shop: "Shop system", decisions: "What the gateway decided, and why",
    other: "中文", send: "Send", placeholder: "Say something as the buyer", next: "Next: ", none: "nothing is scheduled",
    h1: "+1 hour", h2: "+2 hours", d1: "+1 day", nextButton: "To next event",
    verbs: { place: "Place order", pay: "Pay", cancel: "Cancel", ship: "Ship", arrive: "In city", out: "Out", deliver: "Deliver", refund: "Ask refund", abandon: "Leave cart" },
    empty: { wechat: "Say 会员 to open a member card, or use the menu below.", messenger: "Say member: another channel, the same buyer.", twilio: "Text member, answer 1, done.", alibaba: "This line sends approved templates only." },
    kind: { wechat: "WeChat account", messenger: "Messenger", twilio: "Text messages", alibaba: "Template SMS (Alibaba)" },
    steps: ["Say 会员", "Claim a coupon", "Place an order", "Move the clock +2 h", "Pay after the reminder"],
    outcome: { send: "sent", defer: "later", skip: "not sent" }, until: "held until", noDecision: "Once the buyer writes or the shop acts, every send and non-send is explained here.",
    state: { sent: "sent", delivered: "delivered", read: "read" }, failed: "That did not work: ", offline: "The gateway does not answer, trying again…",
    order: { unpaid: "awaits payment", paid: "paid", cancelled: "cancelled", ship: "shipped", arrive: "in city", out: "out", deliver: "delivered" },
  },
};
const params = new URLSearchParams(location.search);
let lang = params.get("lang") === "en" || (!params.get("lang") && !navigator.language.startsWith("zh")) ? "en" : "zh-CN";
let w = WORDS[lang];
let shown = "";
let advanced = Number(sessionStorage.getItem("advanced") || 0);
const $ = (id) => document.getElementById(id);
const el = (tag, props = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children);
  return node;
};

async function post(path, body) {
  try {
    const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body || {}) });
    if (!answer.ok) {
      const problem = await answer.json().catch(() => ({}));
      toast(w.failed + (problem.detail || answer.status));
    }
  } catch { toast(w.offline); }
  await refresh();
}
function toast(text) {
  $("toast").textContent = text;
  $("toast").classList.add("on");
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => $("toast").classList.remove("on"), 5000);
}
const time = (ms, withDay) => new Date(ms).toLocaleString(lang, { timeZone: "Asia/Shanghai", hour: "2-digit", minute: "2-digit", ...(withDay ? { weekday: "short", month: "short", day: "numeric" } : {}) });

function frame() {
  document.documentElement.lang = lang;
  document.querySelectorAll("[data-t]").forEach((node) => { node.textContent = w[node.dataset.t]; });
  $("lang").textContent = w.other;
  const clock = [[w.h1, { advance_s: 3600 }], [w.h2, { advance_s: 7200 }], [w.d1, { advance_s: 86400 }], [w.nextButton, { to: "next" }]];
  $("clock-buttons").replaceChildren(...clock.map(([label, body]) => el("button", { type: "button", textContent: label, onclick: async (event) => {
    event.target.disabled = true;
    if ((body.advance_s || 0) >= 7200 || body.to) { advanced = 1; sessionStorage.setItem("advanced", "1"); }
    await post("/sandbox/clock", body);
    event.target.disabled = false;
  } })));
  $("shop-buttons").replaceChildren(...Object.entries(w.verbs).map(([verb, label]) => el("button", { type: "button", textContent: label, className: verb === "place" ? "main" : "", onclick: () => post(`/sandbox/shops/${shopName}/${verb}`) })));
  shown = "";
}
let shopName = "main";

function drawPhone(phone) {
  const chat = el("div", { className: "chat", tabIndex: 0, role: "log", ariaLabel: w.kind[phone.type] });
  if (!phone.messages.length) chat.append(el("p", { className: "empty", textContent: w.empty[phone.type] }));
  const last = phone.messages.length - 1;
  phone.messages.forEach((m, index) => {
    const bubble = el("div", { className: "bubble" });
    if (m.kind === "image") bubble.append(el("img", { src: m.image, alt: "QR" }));
    else if (m.kind === "card") bubble.append(el("b", { textContent: m.title }), el("div", { textContent: m.text }));
    else bubble.textContent = m.text;
    const line = el("div", { className: `line ${m.from}` }, bubble);
    if (m.choices && m.choices.length && (index === last || phone.type === "wechat")) {
      line.append(el("div", { className: "choices" }, ...m.choices.map((c) => el("button", { type: "button", textContent: c.label, onclick: () => post(`/sandbox/phones/${phone.account}/${encodeURIComponent(phone.id)}/say`, { tap: c.payload || c.label }) }))));
    }
    const state = m.from === "shop" && m.state ? " · " + (w.state[m.state] || m.state) : "";
    line.append(el("div", { className: "meta", textContent: time(m.at) + state }));
    chat.append(line);
  });
  const input = el("input", { placeholder: w.placeholder, ariaLabel: w.placeholder, autocomplete: "off", maxLength: 1000, name: phone.account });
  const form = el("form", { className: "say", onsubmit: (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (!text) return;
    input.value = "";
    post(`/sandbox/phones/${phone.account}/${encodeURIComponent(phone.id)}/say`, { text });
  } }, input, el("button", { type: "submit", className: "main", textContent: w.send }));
  const parts = [el("div", { className: "top" }, el("b", { textContent: brand }), el("span", { textContent: w.kind[phone.type] })), chat];
  if (phone.type === "wechat") {
    const menu = lang === "en" ? [["member_card", "Card"], ["coupons", "Coupons"], ["orders", "Orders"]] : [["member_card", "会员卡"], ["coupons", "领券"], ["orders", "订单"]];
    parts.push(el("div", { className: "menu" }, ...menu.map(([key, label]) => el("button", { type: "button", textContent: label, onclick: () => post(`/sandbox/phones/${phone.account}/${phone.id}/say`, { tap: key }) }))));
  }
  parts.push(form);
  return el("article", { className: `phone ${phone.type}`, ariaLabel: w.kind[phone.type] }, ...parts);
}
let brand = "";

function drawGuide(state) {
  const texts = state.phones.flatMap((p) => p.messages);
  const said = texts.filter((m) => m.from === "shop").map((m) => m.text || "");
  const orders = Object.values(state.shops).flat();
  const has = (...words) => said.some((t) => words.some((word) => t.includes(word)));
  const done = [
    has("会员卡已开通", "會員卡已開通", "member card is ready"),
    has("领到了", "領到了", "It's yours"),
    orders.length > 0,
    advanced > 0,
    orders.some((o) => o.state !== "unpaid" && o.state !== "cancelled") && has("已收到付款", "已收到款項", "Payment received"),
  ];
  const now = done.findIndex((d) => !d);
  $("guide").replaceChildren(...w.steps.map((step, i) => el("li", { className: done[i] ? "done" : i === now ? "now" : "" }, el("span", { className: "mark", textContent: done[i] ? "✓" : String(i + 1) }), step)));
}

function drawDecisions(list) {
  if (!list.length) { $("decisions").replaceChildren(el("li", { textContent: w.noDecision })); return; }
  $("decisions").replaceChildren(...list.slice(0, 60).map((d) => {
    const why = d.rules.filter((r) => r.verdict !== "allow").map((r) => r.rule + (r.detail ? ` (${r.detail})` : "")).join(", ");
    const until = d.outcome === "defer" && d.until ? ` ${w.until} ${time(d.until, true)}` : "";
    return el("li", {}, el("span", { className: `tag ${d.outcome}`, textContent: w.outcome[d.outcome] }), el("span", { className: "what", textContent: d.key || d.source }), el("div", { className: "meta", textContent: `${time(d.at, true)}${d.account ? " · " + d.account : ""}${d.reason ? " · " + d.reason : ""}${until}${why ? " · " + why : ""}` }));
  }));
}

async function refresh() {
  let state;
  try { state = await (await fetch("/sandbox/state.json")).json(); } catch { toast(w.offline); return; }
  brand = state.brand;
  shopName = Object.keys(state.shops)[0] || "main";
  $("now").textContent = time(state.now, true);
  $("next").textContent = state.next_due ? w.next + time(state.next_due, true) : w.none;
  const key = JSON.stringify([state.phones, state.shops, state.decisions, lang]);
  if (key === shown) return;
  shown = key;
  drawGuide(state);
  drawDecisions(state.decisions);
  $("orders").replaceChildren(...Object.values(state.shops).flat().slice(0, 5).map((o) => el("li", { textContent: `#${o.id} · ${o.total.amount} ${o.total.currency} · ${w.order[o.state] || o.state}` })));
  const focused = document.activeElement && document.activeElement.name;
  const typed = {};
  document.querySelectorAll("form.say input").forEach((i) => { typed[i.name] = i.value; });
  const visible = state.phones.filter((p) => p.type !== "alibaba" || p.messages.length);
  $("phones").replaceChildren(...visible.map(drawPhone));
  document.querySelectorAll("form.say input").forEach((i) => { i.value = typed[i.name] || ""; if (i.name === focused) i.focus(); });
  document.querySelectorAll(".chat").forEach((c) => { c.scrollTop = c.scrollHeight; });
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
