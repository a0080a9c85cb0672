// The phone page: asks /sandbox/state.json what there is, draws it, and posts what the visitor does.
import { drawPhones, sayNow, saidNothing } from "/sandbox/static/chat.js";
import { $, button } from "/sandbox/static/dom.js";
import { drawGuide } from "/sandbox/static/guide.js";
import { drawDecisions, drawFilter, drawOrders, drawVerbs } from "/sandbox/static/side.js";
import { WORDS } from "/sandbox/static/words.js";

const CALM_MS = 1000;
const LIVELY_MS = 250; // just after a deed its consequences are looked for more often
const LIVELY_FOR_MS = 4000;
const TOAST_MS = 6000;
const params = new URLSearchParams(location.search);
let lang = params.get("lang") === "en" || (!params.get("lang") && !navigator.language.startsWith("zh")) ? "en" : "zh-CN";
let state = null;
let version = "";
let livelyUntil = 0;
let timer = 0;
let asking = null;
let lastAccount = "";

const w = () => WORDS[lang];
const locale = () => (lang === "en" ? "en-GB" : lang);

const page = {
  w,
  lang: () => lang,
  brand: () => (state ? state.brand : ""),
  now: () => (state ? state.now : 0),
  time: (ms, withDay) => format(ms, { hour: "2-digit", minute: "2-digit", ...(withDay ? { weekday: "short", month: "short", day: "numeric" } : {}) }),
  day: (ms) => format(ms, { month: "short", day: "numeric", weekday: "short" }),
  kindOf: (account) => {
    const found = state.phones.find((phone) => phone.account === account);
    return found ? w().lane[found.type] : account;
  },
  say,
  shop: (verb, body) => deed(`/sandbox/shops/${shopName()}/${verb}`, { lang, ...body }, w().told[verb]),
  advance: (body) => deed("/sandbox/clock", body),
  follow,
};

const formats = new Map();
function format(ms, fields) {
  const key = JSON.stringify([locale(), fields]);
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat(locale(), { timeZone: state.timezone, hourCycle: "h23", ...fields }));
  return formats.get(key).format(ms);
}
const shopName = () => Object.keys(state.shops)[0] || "main";

// --- deeds -----------------------------------------------------------------------------------------------------------

/** Posts; answers whether it was taken. What went wrong is told, with its cause. */
async function deed(path, body, told) {
  livelyUntil = Date.now() + LIVELY_FOR_MS;
  let taken = false;
  try {
    const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body || {}) });
    taken = answer.ok;
    if (!taken) {
      const problem = await answer.json().catch(() => ({}));
      toast(w().failed + (problem.detail || answer.status), "bad");
    } else if (told) toast(told);
  } catch {
    offline(true);
  }
  await refresh();
  return taken;
}

async function say(account, body, shown = body.text) {
  const phone = state.phones.find((one) => one.account === account);
  lastAccount = account;
  sayNow(phone, shown || "");
  draw();
  const taken = await deed(`/sandbox/phones/${account}/${encodeURIComponent(phone.id)}/say`, body);
  if (!taken) {
    saidNothing(phone);
    draw();
  }
  return taken;
}

/** Where a link in a message leads: the gateway's own pages open; the invented shop's are played here; others are only named. */
function follow(url, phone) {
  const own = url.match(/^https?:\/\/[^/]+(\/b\/.*)$/); // by whatever address this page was reached
  if (own) return window.open(`/sandbox/phones/${phone.account}/${encodeURIComponent(phone.id)}/open?to=${encodeURIComponent(own[1])}`, "_blank", "noopener");
  const [, place, id] = url.match(/\/sandbox\/(pay|order|cart)\/([\w-]+)/) || [];
  if (place === "pay") return page.shop("pay", { order: id });
  if (place === "cart") return page.shop("place");
  toast(place === "order" ? w().linkOrder : `${w().linkOut} ${url}`);
  return undefined;
}

function toast(text, kind = "") {
  $("toast").textContent = text;
  $("toast").className = `on ${kind}`;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => { $("toast").className = ""; }, TOAST_MS);
}

function offline(isAway) {
  if ($("offline").hidden !== isAway) return;
  $("offline").hidden = !isAway;
  $("offline").textContent = isAway ? w().offline : "";
  document.body.classList.toggle("away", isAway);
  if (!isAway) toast(w().back);
}

// --- the page --------------------------------------------------------------------------------------------------------

function frame() {
  document.documentElement.lang = lang;
  document.title = `Touchpoint · ${w().title}`;
  document.querySelectorAll("[data-t]").forEach((node) => { node.textContent = w()[node.dataset.t]; });
  document.querySelectorAll("[data-label]").forEach((node) => { node.setAttribute("aria-label", w()[node.dataset.label]); });
  $("lang").textContent = w().other;
  $("lang").setAttribute("aria-label", w().otherLabel);
  $("lang").lang = lang === "en" ? "zh-CN" : "en";
  const moves = [["h1", { advance_s: 3600 }], ["h2", { advance_s: 7200 }], ["d1", { advance_s: 86400 }], ["nextButton", { to: "next" }]];
  $("clock-buttons").replaceChildren(...moves.map(([key, body]) => {
    const node = button(w()[key], async () => {
      node.disabled = true;
      await page.advance(body);
      node.disabled = key === "nextButton" && !state.next_due;
      if (document.activeElement === document.body) node.focus({ preventScroll: true });
    });
    node.dataset.key = key;
    return node;
  }));
  drawVerbs(page);
  drawFilter(page, draw);
}

function draw() {
  if (!state) return;
  const now = page.time(state.now, true);
  if ($("now").textContent !== now) $("now").textContent = now;
  const next = state.next_due ? w().next + page.time(state.next_due, true) : w().none;
  if ($("next").textContent !== next) $("next").textContent = next;
  const toNext = $("clock-buttons").lastChild;
  toNext.disabled = !state.next_due;
  drawPhones(state.phones, page);
  drawGuide(state, account(), page);
  drawOrders(state, page);
  drawDecisions(state, page);
}

/** The phone that the tour speaks through: the last one used here, else the last one written to, else text messages. */
function account() {
  if (lastAccount) return lastAccount;
  const written = state.phones.map((phone) => [phone.account, phone.messages.filter((m) => m.from === "buyer").map((m) => m.at).pop() || 0]);
  const latest = written.sort((a, b) => b[1] - a[1])[0];
  if (latest && latest[1]) return latest[0];
  return (state.phones.find((phone) => phone.type === "twilio") || state.phones[0]).account;
}

/** Times of bubbles as numbers, as all that is drawn here has them. */
function timed(found) {
  for (const phone of found.phones) for (const message of phone.messages) message.at = Date.parse(message.at);
  return found;
}

async function ask() {
  try {
    const answer = await fetch(`/sandbox/state.json?have=${version}`);
    if (!answer.ok) throw new Error(String(answer.status));
    const found = await answer.json();
    if (found.version === version) state.now = found.now;
    else state = timed(found);
    version = found.version;
    offline(false);
  } catch {
    offline(true);
  }
  draw();
}

/** One question at a time; who asks meanwhile gets the answer of the next one. */
async function refresh() {
  clearTimeout(timer);
  if (asking) await asking;
  clearTimeout(timer);
  asking = ask();
  await asking;
  asking = null;
  clearTimeout(timer);
  timer = setTimeout(refresh, Date.now() < livelyUntil ? LIVELY_MS : CALM_MS);
}

$("lang").onclick = () => {
  lang = lang === "en" ? "zh-CN" : "en";
  history.replaceState(null, "", `?lang=${lang}`);
  frame();
  draw();
};
if (params.has("token")) history.replaceState(null, "", `?lang=${lang}`); // the cookie is enough from here on
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
frame();
refresh();
