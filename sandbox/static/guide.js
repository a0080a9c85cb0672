// The guided strip: which steps are done, what the next one is, and how to do it for the visitor.
import { $, el, sync } from "/sandbox/static/dom.js";

const NUMBER = "13900001234";
const REMINDED = ["payment_reminder", "payment_reminder_returning"];
const PAID = ["order_paid_first", "order_paid"];
const PARCEL = ["ship", "arrive", "out", "deliver"];

/** What of the tour is done. `seen` are the wordings that were decided on, and deeds of the visitor. */
export function steps(state) {
  const seen = new Set(state.seen);
  const any = (...keys) => keys.some((key) => seen.has(key));
  const orders = Object.values(state.shops).flat();
  const stopped = state.phones.some((phone) => phone.messages.some((message) => message.from === "carrier"));
  return [
    any("card_issued", "card_show"),
    any("coupon_won", "coupon_again"),
    orders.length > 0,
    orders.length > 0 && any("clock", ...REMINDED),
    orders.some((order) => order.paid) && any(...PAID),
    any("parcel_delivered"),
    any("cart_1"),
    any("opt_out_done") || stopped,
  ];
}

/** The next deed of the tour: {step, name, value, do} for the button, or null when all is done. */
export function nextMove(state, account, page) {
  const step = steps(state).findIndex((done) => !done);
  const w = page.w();
  const say = (text) => ({ step, label: w.forMe.say(text), run: () => page.say(account, { text }) });
  const act = (verb) => ({ step, verb, label: w.forMe.press(w.verbs[verb]), run: () => page.shop(verb) });
  const wait = (seconds, key) => ({ step, clock: key, label: w.forMe.press(w[key]), run: () => page.advance({ advance_s: seconds }) });
  const order = Object.values(state.shops).flat()[0];
  const seen = (key) => state.seen.includes(key);
  const deeds = [
    () => say(joining(state, account, w)),
    () => say(w.words.claim),
    () => act("place"),
    () => wait(7200, "h2"),
    () => act("pay"),
    () => {
      if (order && order.state === "arrive" && !seen("parcel_in_city")) return wait(3600, "h1"); // told after half an hour there
      return act(PARCEL[Math.min(PARCEL.indexOf(order ? order.state : "") + 1, PARCEL.length - 1)]);
    },
    () => (seen("abandoned") ? wait(3600, "h1") : act("abandon")),
    () => say(w.words.stop),
  ];
  return step < 0 ? null : deeds[step]();
}

/** The buyer's next words on the way to the card: the word itself, yes, the number, or the code that came by text. */
function joining(state, account, w) {
  const asked = state.decisions.find((decision) => decision.account === account && decision.purpose === "reply");
  const key = asked ? asked.what : "";
  if (key === "join_by_sms") return "1";
  if (["join_ask_phone", "join_phone_again", "phone_once_more"].includes(key)) return NUMBER;
  if (["code_sent", "code_wrong"].includes(key)) return newestCode(state) || w.words.member;
  return w.words.member;
}

function newestCode(state) {
  const texts = state.phones.filter((phone) => ["twilio", "alibaba"].includes(phone.type)).flatMap((phone) => phone.messages);
  const codes = texts.filter((message) => message.from === "shop" && /\b\d{6}\b/.test(message.text || "")).sort((a, b) => a.at - b.at || a.n - b.n);
  const last = codes[codes.length - 1];
  return last ? last.text.match(/\b\d{6}\b/)[0] : "";
}

export function drawGuide(state, account, page) {
  const w = page.w();
  const done = steps(state);
  const move = nextMove(state, account, page);
  sync($("guide"), w.steps.map(([name], i) => {
    const now = Boolean(move) && move.step === i;
    return { key: String(i), sig: `${page.lang()} ${done[i]} ${now}`, make: () => stepNode(name, i, done[i], now, w) };
  }));
  $("guide").tabIndex = $("guide").scrollWidth > $("guide").clientWidth ? 0 : -1; // scrolled by keys where it is cut
  const current = $("guide").querySelector(".now");
  if (current && $("guide").dataset.at !== current.dataset.key) {
    $("guide").dataset.at = current.dataset.key;
    $("guide").scrollLeft = current.offsetLeft - 16;
  }
  const hint = move ? w.steps[move.step][1] : w.allDone;
  if ($("hint").textContent !== hint) $("hint").textContent = hint;
  const go = $("move");
  go.hidden = !move;
  if (move) {
    if (go.textContent !== move.label) go.textContent = move.label;
    go.onclick = async () => {
      go.disabled = true;
      await move.run();
      go.disabled = false;
      if (document.activeElement === document.body) go.focus({ preventScroll: true });
    };
  }
  point(".verbs button", (node) => move && node.dataset.verb === move.verb);
  point("#clock-buttons button", (node) => move && node.dataset.key === move.clock);
}

function point(where, isNext) {
  document.querySelectorAll(where).forEach((node) => node.classList.toggle("pointed", Boolean(isNext(node))));
}

function stepNode(name, i, done, now, w) {
  const mark = el("span", { className: "mark", ariaHidden: "true", textContent: done ? "✓" : String(i + 1) });
  const item = el("li", { className: done ? "done" : now ? "now" : "" }, mark, name);
  if (done) item.append(el("span", { className: "unseen", textContent: w.stepDone }));
  if (now) item.setAttribute("aria-current", "step");
  return item;
}
