// One broadcast: how far it is, live; what may be done with it; its tests.

import { $, Refused, api, day, facts, make, number, reason, say, span, stamp, tell, words } from "./console.js";
import { previewed } from "./preview.js";
import { failed, told } from "./told.js";

const POLL_MS = 1000;
let found = facts.found;
let seen = null; // the last look: when, and how many were done
let moved = null; // since when so many are done
const QUIET_MS = 8000; // nothing moves: what is left waits for its hour
let undoEnds = 0;

// --- showing ---------------------------------------------------------------------------------------------------------

function show(now) {
  if (now.submitted_by !== found.submitted_by || now.approved_by !== found.approved_by || (now.state === "draft") !== (found.state === "draft")) {
    location.reload(); // what stands beside it changes with it
    return;
  }
  if (now.state === "done" && found.state !== "done") tell(words("finished"));
  found = now;
  $("state").textContent = facts.states[now.state];
  $("state").className = `state ${now.state}`;
  $("why").hidden = !now.why || now.why === "staff" || !["paused", "cancelled"].includes(now.state);
  $("why").textContent = told(now.why || "");
  for (const shown of document.querySelectorAll("[data-sum]")) {
    const value = now.counts[shown.dataset.sum];
    shown.textContent = number(value);
    shown.closest("div").classList.toggle("some", value > 0);
  }
  for (const shown of document.querySelectorAll("[data-share]")) shown.textContent = share(now.counts, shown.dataset.share);
  $("results").hidden = !now.started_at && !now.counts.planned;
  progress(now);
  past(now);
  reasons(now);
  deeds(now);
}

function progress(now) {
  const { done, total } = now.progress;
  $("progress").hidden = !["sending", "paused", "done", "cancelled"].includes(now.state) || !now.started_at;
  $("act").classList.toggle("paused", now.state === "paused");
  const track = document.querySelector(".track");
  track.setAttribute("aria-valuemax", total);
  track.setAttribute("aria-valuenow", done);
  track.firstElementChild.style.width = `${total ? (100 * done) / total : 0}%`;
  const at = performance.now();
  let pace = 0;
  if (seen && now.state === "sending" && at > seen.at) pace = (1000 * (done - seen.done)) / (at - seen.at);
  if (!moved || done !== moved.done || now.state !== "sending") moved = { at, done };
  if (!seen || at - seen.at > 4000 || now.state !== "sending") seen = { at, done };
  const line = [make("b", { text: words("done_of", { done: number(done), total: number(total) }) })];
  if (pace > 0 && done < total) line.push(make("span", { text: words("rate", { n: number(Math.round(pace * 10) / 10) }) }), make("span", { text: words("left", { time: span((total - done) / pace) }) }));
  if (now.state === "done") line.push(make("span", { text: words("finished") }));
  document.querySelector(".pace").replaceChildren(...line);
}

/** What it went through: who did what and when; what it did by itself. */
function past(now) {
  const lines = now.history.map((one, n) => {
    const before = now.history[n - 1]?.state;
    const by = one.by === "engine" ? facts.detail.by_itself : one.by;
    const why = one.why && one.why !== "staff" ? make("small", { text: told(one.why) }) : null;
    return make("li", {}, make("b", { text: deedOf(one.state, before) }), make("span", { text: by }), make("time", { datetime: one.at, text: stamp(one.at) }), why);
  });
  $("past").replaceChildren(...lines);
}

/** What brought it from one state into another, in a word. */
function deedOf(state, before) {
  const { created, withdrawn, submitted, approved, resumed, started, paused, cancelled, ended } = facts.detail;
  if (state === "draft") return before ? withdrawn : created;
  if (state === "awaiting_approval") return submitted;
  if (state === "scheduled") return before === "awaiting_approval" ? approved : before === "paused" ? resumed : submitted;
  if (state === "sending") return before === "paused" ? resumed : started;
  return { paused, cancelled, done: ended }[state];
}

/** A part of its whole: delivered and read of what was sent, the rest of the plan. Of few it would say nothing. */
function share(counts, name) {
  const whole = ["delivered", "read"].includes(name) ? counts.sent : counts.planned;
  if (name === "planned" || whole < 20 || !counts[name]) return "";
  return new Intl.NumberFormat(facts.lang, { style: "percent", maximumFractionDigits: 1 }).format(counts[name] / whole);
}

function table(caption, counts, state) {
  const rows = Object.entries(counts).sort((a, b) => b[1] - a[1]);
  if (!rows.length) return null;
  const made = make("table", { class: "reasons" }, make("caption", { text: caption }));
  const inside = make("tbody");
  for (const [name, n] of rows) {
    const link = make("a", { href: `/console/broadcasts/${found.id}/messages?state=${state}&reason=${encodeURIComponent(name)}`, text: reason(name) });
    inside.append(make("tr", {}, make("td", {}, link), make("td", { text: number(n) })));
  }
  made.append(inside);
  return made;
}

/** Failures by reason and, where the platform told its own code, by that: each is in one line. */
function failures(now) {
  const found = {};
  for (const [why, n] of Object.entries(now.failed_by_reason)) {
    const codes = Object.entries(now.failed_by_code).filter(([name]) => name.startsWith(`${why}:`));
    const rest = n - codes.reduce((sum, [, count]) => sum + count, 0);
    Object.assign(found, Object.fromEntries(codes));
    if (rest > 0) found[why] = rest;
  }
  return found;
}

const STATES = ["sent", "delivered", "read", "failed", "skipped", "in_doubt", "pending"];

/** Counts side by side: a row for each channel or version, a column for each state that occurs. */
function beside(caption, rows) {
  const known = rows.filter(([name, counts]) => name && Object.keys(counts).length).map(([name, counts]) => [name, reached(counts)]);
  if (!known.length) return null;
  const states = STATES.filter((state) => known.some(([, counts]) => counts[state]));
  const head = make("tr", {}, make("th", { scope: "col", text: caption }), ...states.map((state) => make("th", { scope: "col", class: "n", text: facts.detail[state] })));
  const lines = known.map(([name, counts]) => make("tr", {}, make("th", { scope: "row", text: name }), ...states.map((state) => make("td", { class: "n", text: number(counts[state] || 0) }))));
  return make("div", { class: "wide", tabindex: 0, role: "region", "aria-label": caption }, make("table", { class: "reasons rounds" }, make("thead", {}, head), make("tbody", {}, ...lines)));
}

/** As the sums above: what was read was delivered, and what was delivered was sent. */
function reached(counts) {
  const [sent, delivered, read] = ["sent", "delivered", "read"].map((state) => counts[state] || 0);
  return { ...counts, sent: sent + delivered + read, delivered: delivered + read };
}

const version = (name) => (name === "rest" ? facts.detail.rest : name);

function reasons(now) {
  const tables = [table(facts.detail.why_skipped, now.skipped_by_reason, "skipped"), table(facts.detail.why_failed, failures(now), "failed"), beside(facts.detail.by_account, Object.entries(now.by_account)), beside(facts.detail.by_variant, now.variants.map((one) => [version(one.name), one.counts]))].filter(Boolean);
  $("reasons").replaceChildren(...(tables.length ? tables : [make("p", { class: "help", text: facts.detail.nothing_yet })]));
}

// --- doing -----------------------------------------------------------------------------------------------------------

const CAN = {
  draft: ["preview", "submit"],
  awaiting_approval: ["preview", "approve", "withdraw", "cancel"],
  scheduled: ["withdraw", "pause", "cancel"],
  sending: ["pause", "cancel"],
  paused: ["resume", "cancel"],
};
let offered = "";

const mine = (now) => now.submitted_by === facts.me;
/** Whether somebody else must approve what is handed in here. */
let asks = false;

/** What comes next, and who does it. */
function next(now) {
  if (now.state === "draft") return facts.may_write ? words(asks && !facts.alone ? "next_draft_approval" : "next_draft", { limit: facts.approve_above }) : "";
  if (now.state === "awaiting_approval") {
    if (facts.may_write && !mine(now)) return words("next_approve", { who: now.submitted_by });
    return words(mine(now) && facts.alone ? "next_alone" : "next_waits");
  }
  if (now.state === "sending" && now.counts.pending && moved && performance.now() - moved.at > QUIET_MS) return words("next_pending", { n: number(now.counts.pending), time: day(now.not_after) });
  if (now.state === "scheduled" && now.repeat) return now.repeat.next_at ? words("next_round", { time: day(now.repeat.next_at) }) : "";
  if (now.state === "scheduled" && now.send_at) return words("next_at", { time: day(now.send_at) });
  return "";
}

function deeds(now) {
  const refused = now.state === "awaiting_approval" && mine(now) && !facts.alone ? ["approve"] : [];
  const can = facts.may_write ? (CAN[now.state] || []).filter((name) => !refused.includes(name)) : [];
  $("next").textContent = next(now);
  $("next").hidden = !$("next").textContent;
  const shown = `${now.state} ${now.version}`;
  if (shown !== offered) {
    offered = shown;
    $("deeds").replaceChildren(...can.map((name) => make("button", { type: "button", class: name === "submit" || name === "approve" || name === "resume" ? "main" : name === "cancel" ? "grave" : "", "data-deed": name, text: name === "preview" ? facts.detail.again : facts.detail[name], onclick: (event) => run(event.target, name) })));
  }
  undoEnds = now.state === "scheduled" && now.undo_until ? Date.parse(now.undo_until) - facts.ahead_ms : 0;
  undone();
}

function undone() {
  const left = Math.ceil((undoEnds - Date.now()) / 1000);
  $("undo").hidden = left <= 0;
  if (left > 0) $("undo").textContent = words("undo_left", { n: left });
}

async function run(button, name) {
  button.disabled = true;
  try {
    await DEEDS[name]();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    tell(words("failed", { detail: failed(error) }), true);
    if (error.status === 409) await look();
  } finally {
    button.disabled = false;
  }
}

const DEEDS = {
  preview: async () => void (await preview()),
  submit: async () => {
    const { count, needs_approval: approval } = await preview();
    const handed = approval && !facts.alone;
    const go = handed ? facts.detail.hand_in : facts.detail.submit;
    if (!(await sure({ title: go, text: handed ? facts.detail.hand_in_help : takenBack(), go, count }))) return;
    await act("submit", { confirm: count, version: found.version });
  },
  approve: async () => {
    const { count } = await preview();
    if (!(await sure({ title: facts.detail.approve, text: takenBack(), go: facts.detail.approve, count }))) return;
    await act("approve", { confirm: count, version: found.version });
  },
  withdraw: () => act("withdraw", {}),
  pause: () => act("pause", {}),
  resume: async () => {
    try {
      await act("resume", {});
    } catch (error) {
      // It has outgrown what was agreed to, and nobody else could agree: the count is typed, as for an approval.
      if (!(error instanceof Refused) || !error.errors.some((fault) => fault.field === "confirm")) throw error;
      const count = found.counts.planned;
      if (await sure({ title: facts.detail.approve, text: facts.detail.submit_help, go: facts.detail.resume, count })) await act("resume", { confirm: count });
    }
  },
  cancel: async () => {
    const count = number(found.started_at ? found.counts.pending || Math.max(0, found.progress.total - found.progress.done) : found.recipients ?? 0);
    const text = say(facts.detail.cancel_help, { count });
    if (await sure({ title: facts.detail.cancel_go, text, go: facts.detail.cancel_go, no: facts.detail.keep, grave: true })) await act("cancel", {});
  },
};

const takenBack = () => (facts.undo_seconds ? say(facts.detail.submit_help, { n: facts.undo_seconds }) : facts.detail.submit_help_none);

async function act(name, body) {
  show(await api("POST", `/broadcasts/${found.id}/${name}`, body));
}

async function preview() {
  $("previewed").hidden = false;
  const waiting = setTimeout(() => $("previewed").replaceChildren(make("h2", { text: facts.preview.title }), make("p", { class: "busy", text: words("loading") })), 150);
  try {
    const answer = await api("POST", "/broadcasts/preview", { id: found.id });
    $("previewed").replaceChildren(make("h2", { text: facts.preview.title }), ...previewed(answer));
    asks = answer.needs_approval;
    deeds(found);
    return answer;
  } catch (error) {
    $("previewed").replaceChildren(make("h2", { text: facts.preview.title }), make("p", { class: "fault", text: failed(error) }));
    throw error;
  } finally {
    clearTimeout(waiting);
  }
}

/** Asks once more; where a count is given it must be typed. */
function sure({ title, text, go, no = facts.compose.back, count = null, grave = false }) {
  const dialog = $("sure");
  $("sure-title").textContent = title;
  $("sure-words").textContent = text;
  $("sure-go").textContent = go;
  $("sure-no").textContent = no;
  $("sure-go").classList.toggle("grave", grave);
  $("sure-count").hidden = count === null;
  $("sure-fault").hidden = true;
  const input = $("sure-input");
  input.value = "";
  document.querySelector('label[for="sure-input"]').textContent = say(facts.detail.confirm, { count: count === null ? "" : count });
  dialog.returnValue = "";
  return new Promise((resolve) => {
    const checked = (event) => {
      if (event.submitter?.value === "go" && count !== null && input.value.replace(/[\s,]/g, "") !== String(count)) {
        event.preventDefault();
        $("sure-fault").textContent = words("wrong_count", { count });
        $("sure-fault").hidden = false;
        input.setAttribute("aria-invalid", "true");
        input.focus();
      }
    };
    dialog.firstElementChild.addEventListener("submit", checked);
    dialog.addEventListener(
      "close",
      () => {
        dialog.firstElementChild.removeEventListener("submit", checked);
        input.removeAttribute("aria-invalid");
        resolve(dialog.returnValue === "go");
      },
      { once: true },
    );
    dialog.showModal();
    (count === null ? $("sure-no") : input).focus();
  });
}

// --- tests -----------------------------------------------------------------------------------------------------------

$("test")?.addEventListener("submit", (event) => {
  event.preventDefault();
  run(event.submitter, "test");
});

DEEDS.test = async () => {
  const text = $("test-to").value.trim();
  const to = /^b_/.test(text) ? { buyer: text } : /^[a-z0-9-]+:/.test(text) ? { address: text } : { phone: text };
  const { ids } = await api("POST", `/broadcasts/${found.id}/test`, { to: [to] });
  tell(words("test_sent", { n: ids.length }));
  for (const id of ids) follow(id);
};

async function follow(id, tries = 20) {
  const line = document.querySelector(`[data-test="${id}"]`) || make("li", { "data-test": id });
  if (!line.parentElement) $("tests").append(line);
  try {
    const message = await api("GET", `/messages/${id}`);
    const why = message.reason ? ` · ${reason(message.reason)}` : "";
    line.className = `state ${message.state}`;
    line.textContent = `${words("test_state", { state: facts.message_states[message.state] })}${why}`;
    if (!["queued", "sending"].includes(message.state)) return;
  } catch (error) {
    if (!(error instanceof Refused) || error.status !== 404) throw error;
  }
  if (tries) setTimeout(() => follow(id, tries - 1), 500);
}

// --- live ------------------------------------------------------------------------------------------------------------

async function look() {
  show(await api("GET", `/broadcasts/${found.id}`));
}

async function live() {
  undone();
  const moves = ["scheduled", "sending", "paused", "awaiting_approval"].includes(found.state) || (found.state === "cancelled" && !found.done_at);
  if (moves && !document.hidden) {
    try {
      await look();
      document.body.classList.remove("away");
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      document.body.classList.add("away");
      tell(failed(error), true);
    }
  }
  setTimeout(live, POLL_MS);
}

show(found);
live();
if (["draft", "awaiting_approval"].includes(found.state)) {
  preview().catch((error) => {
    if (!(error instanceof Refused)) throw error; // what it said stands there
  });
}
