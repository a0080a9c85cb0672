// Writing a broadcast: who, switches, texts with a live counter, channels, time. The API checks; nothing typed is lost.

import { builder } from "./conditions.js";
import { $, Refused, api, day, facts, make, number, tell, words } from "./console.js";
import { lengths } from "./counter.js";
import { clearFaults, showFaults } from "./faults.js";
import { fitting, guard } from "./form.js";
import { previewed } from "./preview.js";
import { instant, rounds, wall } from "./schedule.js";
import { failed } from "./told.js";
import * as versions from "./variants.js";
export { parts } from "./counter.js";

const form = $("compose");
const of = (name) => form.elements[name];
const all = (selector, root = form) => [...root.querySelectorAll(selector)];
const texts = () => all('[data-field="text"] textarea');

// --- who gets it -----------------------------------------------------------------------------------------------------

const audience = builder($("builder"), () => edited(), { field: "member.is", op: "=", value: true });
const fit = fitting();

/** How many fit now: told a moment after the last change. */
function counting() {
  const how = of("audience").value;
  const shown = how === "saved" ? $("segment-count") : $("builder-count");
  if (how === "everybody" || (how === "conditions" && (audience.empty() || audience.missing()))) {
    fit.forget();
    $("builder-count").textContent = "";
    return;
  }
  const where = how === "saved" ? facts.segments.find((one) => one.id === $("segment").value)?.where : audience.where();
  const tell = (text) => (shown.textContent = text);
  if (where) fit.ask(where, tell, ({ count }) => tell(count ? words("fit_now", { n: number(count) }) : words("count_none")), how);
}

function segmentTold() {
  const one = facts.segments.find((each) => each.id === $("segment").value);
  $("segment-told").textContent = one?.told || "";
  $("segment-link").href = one ? `/console/segments/${one.id}` : "/console/segments";
}

/** Keeps the conditions under a name, for the next time. */
function keep() {
  const missing = audience.missing();
  if (missing) {
    showFaults([{ text: words("value_missing"), input: missing }]);
    return;
  }
  const dialog = $("naming");
  $("naming-name").value = "";
  $("naming-fault").hidden = true;
  $("naming-name").removeAttribute("aria-invalid");
  dialog.showModal();
  $("naming-name").focus();
}

$("naming").addEventListener("submit", async (event) => {
  if (event.submitter?.value !== "go") return;
  event.preventDefault();
  const [name, fault] = [$("naming-name").value.trim(), $("naming-fault")];
  const refuse = (text) => {
    fault.textContent = text;
    fault.hidden = false;
    $("naming-name").setAttribute("aria-invalid", "true");
    $("naming-name").focus();
  };
  if (!name) return refuse(words("name_missing"));
  if (facts.segments.some((one) => one.name === name)) return refuse(words("name_taken", { name }));
  try {
    const made = await api("POST", "/segments", { name, where: audience.where() });
    facts.segments.push({ id: made.id, name, where: made.where, told: "" });
    $("segment").append(make("option", { value: made.id, text: name }));
    $("segment").value = made.id;
    of("audience").forEach((box) => (box.disabled = false));
    of("audience").value = "saved";
    $("naming").close();
    tell(words("segment_saved", { name }));
    edited();
    $("segment").focus();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    refuse(failed(error));
  }
});

// --- channels, time ----------------------------------------------------------------------------------------------

const chosenAccounts = () => all('input[name="account"]:checked').map((box) => box.value);

function templateFields(box, given = {}) {
  const select = box.querySelector("select");
  const option = select.selectedOptions[0];
  const names = (option?.dataset.fields || "").split(" ").filter(Boolean);
  const account = box.closest("li").dataset.account;
  box.querySelector(".fields").replaceChildren(
    ...names.map((name) =>
      make("div", { "data-field": `templates.${account}.fields.${name}` }, make("label", { for: `f-${account}-${name}`, text: name }), make("input", { id: `f-${account}-${name}`, "data-name": name, value: given[name] ?? (name in facts.longest ? `{{ ${name} }}` : ""), autocomplete: "off" })),
    ),
  );
}

function templates() {
  const found = {};
  for (const box of all(".template")) {
    const account = box.closest("li").dataset.account;
    const id = box.querySelector("select").value;
    if (!id || !chosenAccounts().includes(account)) continue;
    found[account] = { template_id: id, fields: Object.fromEntries(all("[data-name]", box).map((input) => [input.dataset.name, input.value])) };
  }
  return found;
}

function timing() {
  const how = of("when").value;
  const until = $("weekly-until").value;
  return {
    send_at: how === "at" && $("send-at").value ? instant($("send-at").value) : null,
    repeat: how === "weekly" ? { weekday: $("weekday").value, at: $("weekly-at").value, ...(until ? { until: instant(`${until}T23:59`) } : {}) } : null,
  };
}

// --- the whole -------------------------------------------------------------------------------------------------------

function body() {
  const how = of("audience").value;
  const who = how === "saved" ? { segment: $("segment").value } : { where: how === "everybody" ? { all: [] } : audience.where() };
  return {
    title: $("title").value,
    purpose: of("purpose").value,
    ...who,
    text: Object.fromEntries(texts().filter((area) => area.value.trim()).map((area) => [area.dataset.locale, area.value])),
    accounts: chosenAccounts(),
    templates: templates(),
    exclude: all('input[name="exclude"]:checked').map((box) => box.value),
    coupon: $("coupon").value.trim(),
    items: $("items").value.split(/[,，、]/).map((part) => part.trim()).filter(Boolean),
    holdout_percent: Number($("holdout").value || 0),
    rate_per_second: $("rate").value ? Number($("rate").value) : null,
    variants: versions.variants(),
    ...timing(),
  };
}

function show(found) {
  $("title").value = found.title;
  of("purpose").value = found.purpose;
  if (found.segment) {
    of("audience").value = "saved";
    $("segment").value = found.segment;
  } else if (found.where.all?.length === 0) of("audience").value = "everybody";
  else audience.show(found.where);
  for (const area of texts()) area.value = found.text[area.dataset.locale] || "";
  for (const account of [...found.accounts].reverse()) $("accounts").prepend(document.querySelector(`li[data-account="${CSS.escape(account)}"]`) || "");
  for (const box of all('input[name="account"]')) box.checked = found.accounts.includes(box.value);
  for (const [account, template] of Object.entries(found.templates)) {
    const box = document.querySelector(`li[data-account="${CSS.escape(account)}"] .template`);
    if (!box) continue;
    box.querySelector("select").value = template.template_id;
    templateFields(box, template.fields);
  }
  for (const box of all('input[name="exclude"]')) box.checked = found.exclude.includes(box.value);
  $("coupon").value = found.coupon || "";
  $("items").value = found.items.join(", ");
  $("holdout").value = found.holdout_percent;
  $("rate").value = found.rate_per_second ?? "";
  versions.show(found.variants);
  $("more").open = Boolean(found.holdout_percent || found.rate_per_second);
  if (found.send_at) {
    of("when").value = "at";
    $("send-at").value = wall(found.send_at);
  }
  if (found.repeat) {
    of("when").value = "weekly";
    $("weekday").value = found.repeat.weekday;
    $("weekly-at").value = found.repeat.at;
    if (found.repeat.until) $("weekly-until").value = wall(found.repeat.until).slice(0, 10);
  }
}

/** The dates that a weekly one has before it, by the shop's clock. */
function dates() {
  const next = rounds({ weekday: $("weekday").value, time: $("weekly-at").value, until: $("weekly-until").value }, Date.now() + facts.ahead_ms, 4);
  $("rounds").textContent = next.length ? words("next_rounds", { dates: next.map(day).join(words("list_sign")) }) : words("no_rounds");
}

function arranged() {
  $("builder").hidden = of("audience").value !== "conditions";
  $("saved").hidden = of("audience").value !== "saved";
  $("when-at").hidden = of("when").value !== "at";
  $("when-weekly").hidden = of("when").value !== "weekly";
  for (const box of all(".template")) box.hidden = !chosenAccounts().includes(box.closest("li").dataset.account);
  for (const area of all("textarea[data-locale]")) area.closest(".wording").querySelector(".counts").replaceChildren(...lengths(area.value, area.dataset.locale, chosenAccounts(), of("purpose").value === "marketing"));
  versions.arranged();
  segmentTold();
  counting();
  dates();
}

let looked = false;
function edited() {
  arranged();
  if (looked) $("shown").querySelector(".stale")?.removeAttribute("hidden");
}

// --- doing -----------------------------------------------------------------------------------------------------------

/** What is wrong with the words, in this page's language: the preview tells the rule of each fault. */
async function inWords(error) {
  try {
    const found = await api("POST", "/broadcasts/preview", { ...body(), sample: 0 });
    if (found.faults.length) return found.faults;
  } catch {
    // told as the API told it
  }
  return error.errors.length ? error.errors : [{ field: "", text: failed(error) }];
}

/** What the page sees by itself, and what a wrong guess at would reach the wrong people or the wrong hour. */
function lacking() {
  const found = [];
  const ask = (input, name) => input && found.push({ input, text: words(name) });
  if (!$("title").value.trim()) ask($("title"), "title_missing");
  if (of("audience").value === "conditions") {
    if (audience.empty()) ask($("builder-add"), "no_condition");
    else ask(audience.missing(), "value_missing");
  }
  ask(versions.missing(), "value_missing");
  if (!chosenAccounts().length) ask(document.querySelector('input[name="account"]'), "no_account");
  if (of("when").value === "at" && !$("send-at").value) ask($("send-at"), "time_missing");
  else if (of("when").value === "at" && Date.parse(instant($("send-at").value)) < Date.now() + facts.ahead_ms) ask($("send-at"), "time_past");
  if (of("when").value === "weekly" && !$("weekly-at").value) ask($("weekly-at"), "time_missing");
  return found;
}

async function busy(button, work, title = true) {
  clearFaults();
  versions.addressed();
  const faults = lacking().filter((one) => title || one.input !== $("title"));
  if (faults.length) {
    showFaults(faults);
    return;
  }
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status === 400) showFaults(await inWords(error));
    else tell(words("failed", { detail: failed(error) }), true);
  } finally {
    button.disabled = false;
    button.removeAttribute("aria-busy");
    if (document.activeElement === document.body) button.focus();
  }
}

$("preview").addEventListener("click", () =>
  busy($("preview"), async () => {
    const shown = $("shown");
    const waiting = setTimeout(() => shown.replaceChildren(make("h2", { text: facts.preview.title }), make("p", { class: "busy", text: words("loading") })), 150);
    try {
      const found = await api("POST", "/broadcasts/preview", { ...body(), title: undefined, ...(facts.found ? { id: facts.found.id } : {}) });
      shown.replaceChildren(make("h2", { text: facts.preview.title, tabindex: -1 }), make("p", { class: "stale help", hidden: true, text: facts.preview.stale }), ...previewed(found));
      looked = true;
      if (found.faults.length) showFaults(found.faults);
      else if (shown.getBoundingClientRect().top > innerHeight - 120) {
        shown.scrollIntoView(); // on a narrow page it stands below the form
        shown.firstElementChild.focus({ preventScroll: true });
      }
    } finally {
      clearTimeout(waiting);
    }
  }, false),
);

form.addEventListener("submit", (event) => {
  event.preventDefault();
  busy($("save"), async () => {
    const written = body();
    const made = facts.found ? await api("PATCH", `/broadcasts/${facts.found.id}`, { ...written, version: facts.found.version }) : await api("POST", "/broadcasts", written);
    sent();
    location.href = `/console/broadcasts/${made.id}`;
  });
});

$("keep").addEventListener("click", keep);
versions.start(() => edited());
for (const box of all(".template")) box.querySelector("select").addEventListener("change", () => templateFields(box));
for (const button of all(".up")) {
  button.addEventListener("click", () => {
    const line = button.closest("li");
    line.previousElementSibling?.before(line);
    button.focus();
    edited();
  });
}
let lastArea = texts()[0];
form.addEventListener("focusin", (event) => {
  if (event.target.matches("textarea")) lastArea = event.target;
});
for (const button of all(".variable")) {
  button.addEventListener("click", () => {
    lastArea.setRangeText(`{{ ${button.dataset.name} }}`, lastArea.selectionStart, lastArea.selectionEnd, "end");
    lastArea.focus();
    edited();
  });
}
const sent = guard(form);
form.addEventListener("input", edited);
form.addEventListener("change", edited);

if (facts.found) show(facts.found);
else audience.add();
arranged();
