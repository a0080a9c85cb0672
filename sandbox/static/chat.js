// The three phones: their frames, chats, choices and what the buyer types.
import { $, button, el, icon, sync } from "/sandbox/static/dom.js";

const WAIT_FOR_ANSWER_MS = 4000;
const MOST_TYPED = 2000;
const QUIET_MS = 10 * 60_000; // a pause after which a chat shows the time again
const NEAR_END_PX = 80;
const CARRIES_CHOICES = { wechat: true };
const saidAt = {};
const underWay = {}; // what was said and is not shown by the server yet
const shapes = { wechat: wechatParts, messenger: messengerParts, twilio: smsParts, alibaba: smsParts };

/** `page` lends words, clock formats, the brand and the deeds: {w(), time(), day(), post(), say(), follow()}. */
export function drawPhones(phones, page) {
  const shown = phones.filter((phone) => phone.type !== "alibaba" || phone.messages.length);
  const wanted = shown.map((phone) => ({ key: phone.account, sig: `${page.lang()} ${page.brand()}`, make: () => frame(phone, page) }));
  sync($("phones"), wanted.map((one) => ({ ...one, make: () => keepTyped(one) })));
  sync($("tabs"), shown.map((phone) => ({ key: phone.account, sig: page.lang(), make: () => tab(phone, page) })));
  for (const phone of shown) fill(phone, page);
}

/** Shows what the buyer just said at once, before the server has it. */
export function sayNow(phone, text) {
  saidAt[phone.account] = Date.now();
  underWay[phone.account] = { text, after: phone.messages.length ? phone.messages[phone.messages.length - 1].n : 0 };
}

export function saidNothing(phone) {
  delete underWay[phone.account];
  delete saidAt[phone.account];
}

function keepTyped({ key, make }) {
  const old = $(`phone-${key}`);
  const typed = old ? old.querySelector("input").value : "";
  const fresh = make();
  fresh.querySelector("input").value = typed;
  return fresh;
}

function tab(phone, page) {
  return button(page.w().lane[phone.type], () => $(`phone-${phone.account}`).scrollIntoView({ behavior: "auto", inline: "center", block: "nearest" }), `tab ${phone.type}`);
}

// --- frames ----------------------------------------------------------------------------------------------------------

function frame(phone, page) {
  const w = page.w();
  const bar = el("div", { className: "bar", ariaHidden: "true" }, el("span", { className: "clock" }), icon("signal"), icon("battery"));
  const chat = el("div", { className: "chat", tabIndex: 0, role: "log", label: `${w.kind[phone.type]}: ${w.messages}` });
  const { top, foot } = shapes[phone.type](phone, page);
  const screen = el("div", { className: "screen" }, bar, top, chat, foot);
  const name = el("p", { className: "sort" }, w.kind[phone.type]);
  return el("article", { className: `phone ${phone.type}`, id: `phone-${phone.account}`, label: w.kind[phone.type] }, screen, name);
}

function field(phone, page, hint) {
  const input = el("input", { placeholder: hint, autocomplete: "off", maxLength: MOST_TYPED, name: phone.account, label: `${page.w().kind[phone.type]}: ${page.w().placeholder}` });
  input.setAttribute("enterkeyhint", "send");
  return input;
}

function form(phone, page, input, ...parts) {
  const onsubmit = async (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (!text) return;
    input.value = "";
    if (!(await page.say(phone.account, { text })) && !input.value) input.value = text; // nothing typed is lost
  };
  return el("form", { className: "say", onsubmit }, ...parts);
}

function sendButton(page, shape) {
  return el("button", { type: "submit", className: "go", label: page.w().send, title: page.w().send }, icon(shape));
}

function face(page, className = "face") {
  return el("span", { className, textContent: [...page.brand()][0] || "T", ariaHidden: "true" });
}

function wechatParts(phone, page) {
  const w = page.w();
  const top = el("div", { className: "top" }, icon("back"), el("b", { textContent: page.brand() }), icon("more"));
  const input = field(phone, page, w.placeholder);
  const menu = el("div", { className: "menu" }, icon("keys"), ...Object.entries(w.menu).map(([key, label]) => button(label, () => page.say(phone.account, { tap: key }, label))));
  const send = el("button", { type: "submit", className: "go word", textContent: w.send });
  const foot = el("div", { className: "foot" }, form(phone, page, input, icon("voice"), input, icon("smile"), send), menu);
  return { top, foot };
}

function messengerParts(phone, page) {
  const w = page.w();
  const name = el("span", { className: "name" }, el("b", { textContent: page.brand() }), el("small", { textContent: w.answersAtOnce }));
  const top = el("div", { className: "top" }, icon("back"), face(page), name, icon("call"), icon("video"));
  const input = field(phone, page, w.placeholder);
  return { top, foot: el("div", { className: "foot" }, form(phone, page, input, icon("plus"), input, sendButton(page, "send"))) };
}

function smsParts(phone, page) {
  const w = page.w();
  const person = el("span", { className: "face", ariaHidden: "true" }, icon("person"));
  const name = el("span", { className: "name" }, person, el("b", { textContent: page.brand() }));
  const top = el("div", { className: "top" }, icon("back"), name, el("span", { className: "gap" }));
  const input = field(phone, page, w.placeholder);
  return { top, foot: el("div", { className: "foot" }, form(phone, page, input, icon("plus"), input, sendButton(page, "up"))) };
}

// --- chats -----------------------------------------------------------------------------------------------------------

function fill(phone, page) {
  const article = $(`phone-${phone.account}`);
  article.querySelector(".bar .clock").textContent = page.time(page.now());
  const chat = article.querySelector(".chat");
  const atEnd = chat.scrollHeight - chat.scrollTop - chat.clientHeight < NEAR_END_PX;
  const before = chat.dataset.last;
  sync(chat, lines(phone, page));
  const last = phone.messages[phone.messages.length - 1];
  chat.dataset.last = String((last ? last.n : 0) + (underWay[phone.account] ? 0.5 : 0));
  const mine = underWay[phone.account] || (last && last.from === "buyer");
  if (atEnd || (mine && before !== chat.dataset.last)) chat.scrollTop = chat.scrollHeight;
}

function lines(phone, page) {
  const found = [];
  const shown = phone.messages;
  const waiting = underWay[phone.account];
  if (waiting && shown.some((m) => m.from === "buyer" && m.n > waiting.after)) delete underWay[phone.account];
  if (!shown.length && !underWay[phone.account]) {
    found.push({ key: "empty", sig: page.lang(), make: () => el("p", { className: "empty", textContent: page.w().empty[phone.type] }) });
  }
  let seen = 0;
  let day = "";
  shown.forEach((message, index) => {
    if (page.day(message.at) !== day || message.at - seen > QUIET_MS) {
      const stamp = page.day(message.at) === day ? page.time(message.at) : page.time(message.at, true);
      found.push({ key: `t${message.n}`, sig: stamp, make: () => el("p", { className: "note", textContent: stamp }) });
    }
    day = page.day(message.at);
    seen = message.at;
    const next = shown[index + 1];
    const isLast = !next && !underWay[phone.account];
    const ends = !next || next.from !== message.from || next.at - message.at > 60_000 || next.state !== message.state;
    const sig = JSON.stringify([message, isLast, ends, page.lang(), page.brand()]);
    found.push({ key: `m${message.n}`, sig, make: () => drawLine(phone, message, page, { isLast, ends }) });
  });
  if (underWay[phone.account]) {
    const { text } = underWay[phone.account];
    found.push({ key: "under-way", sig: text, make: () => el("div", { className: "line buyer under-way" }, el("div", { className: "said" }, el("div", { className: "bubble text", dir: "auto", textContent: text }))) });
  }
  if (isTyping(phone)) found.push({ key: "typing", sig: page.lang(), make: () => typing(page) });
  return found;
}

function isTyping(phone) {
  const last = phone.messages[phone.messages.length - 1];
  const said = underWay[phone.account] || (last && last.from === "buyer");
  return Boolean(said && phone.type !== "twilio" && phone.type !== "alibaba" && Date.now() - (saidAt[phone.account] || 0) < WAIT_FOR_ANSWER_MS);
}

function typing(page) {
  const dots = el("div", { className: "bubble dots", role: "img", label: page.w().typing }, el("i"), el("i"), el("i"));
  return el("div", { className: "line shop ends" }, el("div", { className: "said" }, face(page), dots));
}

function drawLine(phone, message, page, { isLast, ends }) {
  const w = page.w();
  if (message.kind === "menu") return el("p", { className: "note", textContent: w.tapped + (w.menu[message.text] || message.text) });
  if (message.kind === "follow") return el("p", { className: "note", textContent: w.followed });
  const bubble = el("div", { className: `bubble ${message.kind}`, dir: "auto" }, ...inside(message, page, phone));
  for (const link of message.links || []) bubble.append(button(link.label, () => page.follow(link.url, phone), "link row-link"));
  const who = message.from === "shop" ? face(page) : el("span", { className: "face", ariaHidden: "true" }, icon("person"));
  const line = el("div", { className: `line ${message.from}${ends ? " ends" : ""}` }, el("div", { className: "said" }, who, bubble));
  if (message.from === "carrier" || message.from === "platform") return line;
  if (message.choices && message.choices.length && (isLast || CARRIES_CHOICES[phone.type])) {
    const choices = message.choices.map((choice) => button(choice.label, () => page.say(phone.account, { tap: choice.payload || choice.label }, choice.label)));
    const box = el("div", { className: "choices" }, ...choices);
    if (CARRIES_CHOICES[phone.type]) bubble.append(box);
    else line.append(box);
  }
  if (ends) line.append(meta(message, page));
  return line;
}

function inside(message, page, phone) {
  if (message.kind === "image") return [el("img", { src: message.image, alt: page.w().card })];
  if (message.kind === "card") return [el("b", { textContent: message.title }), el("div", {}, ...linked(message.text || "", page, phone))];
  return linked(message.text || "", page, phone);
}

function linked(text, page, phone) {
  const parts = text.split(/(https?:\/\/[\w.:/?=&%#-]+)/);
  return parts.map((part, i) => (i % 2 === 0 ? part : button(part.replace(/^https?:\/\//, ""), () => page.follow(part, phone), "link")));
}

function meta(message, page) {
  const w = page.w();
  const facts = [page.time(message.at)];
  if (message.parts > 1) facts.push(w.parts(message.parts));
  if (message.from === "shop" && message.state) facts.push(w.state[message.state] || message.state);
  return el("div", { className: `meta ${message.state}`, textContent: facts.join(" · ") });
}
