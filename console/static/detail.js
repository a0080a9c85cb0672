// One broadcast: how far it is, live; what may be done with it; its tests.

import { $, Refused, api, facts, make, number, previewed, reason, say, span, tell, words } from "./console.js";

const POLL_MS = 1000;
let found = facts.found;
let seen = null; // the last look: when, and how many were done
let undoEnds = 0;

// --- showing ---------------------------------------------------------------------------------------------------------

function show(now) {
  if (now.submitted_by !== found.submitted_by || now.approved_by !== found.approved_by || (now.state === "draft") !== (found.state === "draft")) {
    location.reload(); // what stands beside it changes with it
    return;
  }
  found = now;
  $("state").textContent = facts.states[now.state];
  $("state").className = `state ${now.state}`;
  $("why").hidden = !now.why || now.why === "staff" || !["paused", "cancelled"].includes(now.state);
  $("why").textContent = now.why || "";
  for (const dd of document.querySelectorAll("[data-sum]")) {
    const value = now.counts[dd.dataset.sum];
    dd.textContent = number(value);
    dd.parentElement.classList.toggle("some", value > 0);
  }
  $("results").hidden = !now.started_at && !now.counts.planned;
  progress(now);
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
  if (!seen || at - seen.at > 4000 || now.state !== "sending") seen = { at, done };
  const line = [make("b", { text: words("done_of", { done: number(done), total: number(total) }) })];
  if (pace > 0 && done < total) line.push(make("span", { text: words("rate", { n: number(Math.round(pace * 10) / 10) }) }), make("span", { text: words("left", { time: span((total - done) / pace) }) }));
  if (now.state === "done") line.push(make("span", { text: words("finished") }));
  document.querySelector(".pace").replaceChildren(...line);
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

function byVariant(now) {
  const rows = now.variants.filter((one) => Object.keys(one.counts).length);
  if (!rows.length) return null;
  const made = make("table", { class: "reasons" }, make("caption", { text: facts.detail.by_variant }));
  const inside = make("tbody");
  for (const one of rows) {
    const told = Object.entries(one.counts).map(([state, n]) => `${facts.message_states[state] || state} ${number(n)}`).join(" · ");
    inside.append(make("tr", {}, make("td", { text: one.name }), make("td", { text: told })));
  }
  made.append(inside);
  return made;
}

function reasons(now) {
  const tables = [table(facts.detail.why_skipped, now.skipped_by_reason, "skipped"), table(facts.detail.why_failed, now.failed_by_reason, "failed"), byVariant(now)].filter(Boolean);
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

function deeds(now) {
  const can = facts.may_write ? CAN[now.state] || [] : [];
  const mine = `${now.state} ${now.version}`;
  if (mine !== offered) {
    offered = mine;
    $("deeds").replaceChildren(...can.map((name) => make("button", { type: "button", class: name === "submit" || name === "approve" || name === "resume" ? "main" : name === "cancel" ? "grave" : "", "data-deed": name, text: facts.detail[name] || facts.preview.title, onclick: (event) => run(event.target, name) })));
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
    tell(words("failed", { detail: error.message }), true);
    if (error.status === 409) await look();
  } finally {
    button.disabled = false;
  }
}

const DEEDS = {
  preview: async () => void (await preview()),
  submit: async () => {
    const told = await preview();
    if (!(await sure({ title: facts.detail.submit, text: facts.detail.submit_help, go: facts.detail.submit, count: told.count }))) return;
    await act("submit", { confirm: told.count, version: found.version });
  },
  approve: async () => {
    const told = await preview();
    if (!(await sure({ title: facts.detail.approve, text: facts.detail.submit_help, go: facts.detail.approve, count: told.count }))) return;
    await act("approve", { confirm: told.count, version: found.version });
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

async function act(name, body) {
  show(await api("POST", `/broadcasts/${found.id}/${name}`, body));
}

async function preview() {
  const told = await api("POST", "/broadcasts/preview", { id: found.id });
  $("previewed").hidden = false;
  $("previewed").replaceChildren(make("h2", { text: facts.preview.title }), ...previewed(told));
  return told;
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
      tell(error.message, true);
    }
  }
  setTimeout(live, POLL_MS);
}

show(found);
live();
