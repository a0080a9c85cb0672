// Writing a broadcast: conditions, switches, texts with a live counter, channels, time. The API checks; nothing typed is lost.

import { $, Refused, api, facts, finding, make, previewed, say, tell, words } from "./console.js";

const form = $("compose");
const of = (name) => form.elements[name];
const all = (selector, root = form) => [...root.querySelectorAll(selector)];

// --- conditions ------------------------------------------------------------------------------------------------------

const byName = Object.fromEntries(facts.fields.map((field) => [field.name, field]));

function condition(test = { field: facts.fields[0]?.name }) {
  const line = $("condition").content.firstElementChild.cloneNode(true);
  const [field, op, value] = [line.querySelector(".field"), line.querySelector(".op"), line.querySelector(".value")];
  for (const one of facts.fields) field.append(make("option", { value: one.name, text: one.title }));
  const valued = (given) => {
    value.replaceChildren(...inputs(byName[field.value], op.value, given));
    edited();
  };
  const operated = (wanted, given) => {
    op.replaceChildren(...byName[field.value].operators.map((name) => make("option", { value: name, text: facts.operators[name] || name })));
    if (wanted) op.value = wanted;
    valued(given);
  };
  field.addEventListener("change", () => operated());
  op.addEventListener("change", () => valued());
  line.querySelector(".remove").addEventListener("click", () => {
    line.remove();
    edited();
  });
  if (test.field in byName) field.value = test.field;
  $("conditions").append(line);
  line.extra = Object.fromEntries(Object.entries(test).filter(([name]) => !["field", "op", "value"].includes(name)));
  operated(test.op, test.value);
  return line;
}

function inputs(field, op, given) {
  const label = { "aria-label": `${field.title}: ${facts.compose.value}` };
  if (op === "known" || field.type === "yes/no") return [choice([["true", words("yes")], ["false", words("no")]], String(given ?? true), label)];
  if (op === "within" || op === "not_within") return [make("input", { type: "number", min: 1, value: given?.days ?? given ?? 30, "data-as": "days", ...label }), words("days")];
  if (field.type === "date" && given?.days !== undefined) return [make("input", { type: "number", min: 1, value: given.days, "data-as": "days", ...label }), words("days_ago")];
  const type = { number: "number", days: "number", date: "date" }[field.type] || "text";
  if (op === "between") {
    const [low, high] = given || ["", ""];
    return [make("input", { type, value: low, ...label }), words("between"), make("input", { type, value: high, ...label })];
  }
  if (field.choices?.length && !["in", "not_in", "all"].includes(op)) return [choice(field.choices.map((one) => [one, one || "–"]), given, label)];
  const listed = ["in", "not_in", "all"].includes(op);
  const shown = listed ? (given || []).join(", ") : (given ?? "");
  return [make("input", { type: listed ? "text" : type, step: "any", value: shown, "data-as": listed ? "list" : field.type, placeholder: listed ? words("list_help") : field.hint || "", ...label })];
}

function choice(options, given, label) {
  const made = make("select", label, ...options.map(([value, text]) => make("option", { value, text })));
  if (given !== undefined) made.value = given;
  return made;
}

function read(line) {
  const [field, op] = [line.querySelector(".field").value, line.querySelector(".op").value];
  const found = byName[field];
  const typed = [...line.querySelector(".value").querySelectorAll("input, select")];
  const one = (input) => {
    if (input.dataset.as === "days" && (op === "within" || op === "not_within" || found.type === "date")) return { days: Number(input.value) };
    if (input.dataset.as === "list") return input.value.split(/[,，、]/).map((part) => part.trim()).filter(Boolean).map((part) => plain(found, part));
    if (op === "known" || found.type === "yes/no") return input.value === "true";
    return plain(found, input.value);
  };
  const value = op === "between" ? typed.map((input) => plain(found, input.value)) : one(typed[0]);
  return { field, op, value, ...line.extra };
}

const plain = (field, text) => (["number", "days"].includes(field.type) && text !== "" ? Number(text) : text);

function where() {
  if (of("audience").value === "everybody") return { all: [] };
  return { [$("match").value]: all(".condition").map(read) };
}

/** Conditions that the builder cannot show are kept as they are. */
let kept = null;

function showWhere(found) {
  const how = ["all", "any"].find((word) => word in found);
  const parts = how ? found[how] : null;
  if (!parts || parts.some((part) => !part.field || !(part.field in byName))) {
    kept = found;
    return;
  }
  $("match").value = how;
  of("audience").value = parts.length ? "conditions" : "everybody";
  parts.forEach(condition);
}

// --- the counter -----------------------------------------------------------------------------------------------------

const BASIC = new Set("@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà");
const EXTENDED = new Set("\f^{}\\[~]|€");

/** Parts of a text message, as bot/sms.py counts them. */
export function parts(text, mainland) {
  if (mainland) {
    const n = [...text].length;
    return [n, n <= 70 ? 1 : Math.ceil(n / 67)];
  }
  const sizes = [...text].map((c) => (BASIC.has(c) ? 1 : EXTENDED.has(c) ? 2 : 0));
  const gsm = sizes.every(Boolean);
  const units = gsm ? sizes : [...text].map((c) => c.length);
  const [alone, each] = gsm ? [160, 153] : [70, 67];
  const total = units.reduce((sum, size) => sum + size, 0);
  if (total <= alone) return [total, 1];
  let [count, used] = [1, 0];
  for (const size of units) {
    if (used + size > each) [count, used] = [count + 1, 0];
    used += size;
  }
  return [total, count];
}

function filled(text) {
  const long = (name, fallback) => {
    const value = facts.longest[name] ?? facts.longest[name.replace(/\d+$/, "")] ?? fallback ?? "";
    return value.length > (fallback || "").length ? value : fallback || value;
  };
  return text
    .replace(/\{%\s*else\s*%\}[\s\S]*?\{%\s*endif\s*%\}/g, "")
    .replace(/\{%.*?%\}/g, "")
    .replace(/\{\{\s*(\w+)\s*(?:\|\s*default\(\s*["'](.*?)["']\s*\)\s*)?\}\}/g, (_, name, fallback) => long(name, fallback));
}

function whole(lane, locale, text) {
  if (!lane.sms) return text;
  const brand = lane.signature || facts.brands[locale] || facts.brand;
  let made = text.startsWith("【") || text.startsWith(brand) ? text : locale.startsWith("zh") ? `【${brand}】${text}` : `${brand}: ${text}`;
  const ending = facts.endings[locale];
  if (of("purpose").value === "marketing" && !Object.values(facts.endings).some((one) => made.endsWith(one))) made = `${made.trimEnd()} ${ending}`;
  return made;
}

function count(area) {
  const shown = $(`count-${area.dataset.locale}`);
  const lines = [];
  const chosen = chosenAccounts();
  for (const lane of facts.lanes.filter((one) => chosen.includes(one.account) && one.free_text)) {
    if (!area.value.trim()) break;
    const text = whole(lane, area.dataset.locale, filled(area.value));
    if (lane.sms) {
      const [length, n] = parts(text, lane.mainland);
      lines.push(make("li", { class: lane.limit && text.length > lane.limit ? "over" : n > 1 ? "more" : "", text: `${lane.account}: ${words("parts", { length, parts: n })}` }));
    } else {
      const length = lane.bytes ? new TextEncoder().encode(text).length : [...text].length;
      lines.push(make("li", { class: lane.limit && length > lane.limit ? "over" : "", text: `${lane.account}: ${words(lane.bytes ? "bytes" : "length", { length, limit: lane.limit })}` }));
    }
  }
  shown.replaceChildren(...lines);
}

// --- channels, variants, time ----------------------------------------------------------------------------------------

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

function variant(one = { name: "", weight: 1, text: {} }) {
  const box = $("variant").content.firstElementChild.cloneNode(true);
  box.querySelector(".name").value = one.name;
  box.querySelector(".weight").value = one.weight;
  for (const area of all("textarea", box)) area.value = one.text[area.dataset.locale] || "";
  box.where = one.where ?? null;
  box.querySelector(".remove").addEventListener("click", () => {
    box.remove();
    edited();
  });
  $("variants").append(box);
}

function variants() {
  return all(".variant").map((box) => ({
    name: box.querySelector(".name").value.trim(),
    weight: Number(box.querySelector(".weight").value),
    where: box.where,
    text: Object.fromEntries(all("textarea", box).filter((area) => area.value.trim()).map((area) => [area.dataset.locale, area.value])),
  }));
}

/** The instant at which the shop's clock shows a wall time (`2026-12-02T10:00`). */
function instant(wall) {
  const asUtc = Date.parse(`${wall}Z`);
  const offset = (at) => {
    const shown = new Intl.DateTimeFormat("sv-SE", { timeZone: facts.timezone, dateStyle: "short", timeStyle: "medium" }).format(new Date(at));
    return Date.parse(`${shown.replace(" ", "T")}Z`) - at;
  };
  const first = asUtc - offset(asUtc);
  return new Date(asUtc - offset(first)).toISOString().replace(".000Z", "Z");
}

function wall(iso) {
  const shown = new Intl.DateTimeFormat("sv-SE", { timeZone: facts.timezone, dateStyle: "short", timeStyle: "short" }).format(new Date(iso));
  return shown.replace(" ", "T");
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
  const audience = of("audience").value;
  const asked = audience === "saved" ? { segment: $("segment").value } : { where: kept && audience === "conditions" && !all(".condition").length ? kept : where() };
  return {
    title: $("title").value,
    purpose: of("purpose").value,
    ...asked,
    text: Object.fromEntries(all(".wording textarea").filter((area) => area.value.trim()).map((area) => [area.dataset.locale, area.value])),
    accounts: chosenAccounts(),
    templates: templates(),
    exclude: all('input[name="exclude"]:checked').map((box) => box.value),
    coupon: $("coupon").value.trim(),
    items: $("items").value.split(/[,，、]/).map((part) => part.trim()).filter(Boolean),
    holdout_percent: Number($("holdout").value || 0),
    rate_per_second: $("rate").value ? Number($("rate").value) : null,
    variants: variants(),
    ...timing(),
  };
}

function show(found) {
  $("title").value = found.title;
  of("purpose").value = found.purpose;
  if (found.segment) {
    of("audience").value = "saved";
    $("segment").value = found.segment;
  } else showWhere(found.where);
  for (const area of all(".wording textarea")) area.value = found.text[area.dataset.locale] || "";
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
  found.variants.forEach(variant);
  $("more").open = Boolean(found.variants.length || found.holdout_percent || found.rate_per_second);
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

function arranged() {
  $("builder").hidden = of("audience").value !== "conditions";
  $("saved").hidden = of("audience").value !== "saved";
  $("when-at").hidden = of("when").value !== "at";
  $("when-weekly").hidden = of("when").value !== "weekly";
  for (const box of all(".template")) box.hidden = !chosenAccounts().includes(box.closest("li").dataset.account);
  all(".wording textarea").forEach(count);
}

let looked = false;
function edited() {
  arranged();
  if (looked) $("shown").querySelector(".stale")?.removeAttribute("hidden");
}

// --- faults ----------------------------------------------------------------------------------------------------------

function clearFaults() {
  $("faults").hidden = true;
  for (const line of all(".at-field")) line.remove();
  for (const input of all("[aria-invalid]")) input.removeAttribute("aria-invalid");
}

/** Beside the field, and listed on top: the field nearest to what the API named. */
function place(name) {
  for (let part = name.replace(/\[\d+\]/g, ""); part; part = part.includes(".") ? part.slice(0, part.lastIndexOf(".")) : "") {
    const found = document.querySelector(`[data-field="${CSS.escape(part)}"]`);
    if (found) return found;
  }
  return form;
}

function showFaults(error) {
  clearFaults();
  const list = make("ul");
  const lines = error.errors.length ? error.errors : [{ field: "", detail: error.message }];
  for (const [n, one] of lines.entries()) {
    const text = one.rule ? finding(one) : one.detail;
    const there = one.field ? place(one.field) : null;
    if (!there || there === form) {
      list.append(make("li", { text: one.field ? `${one.field}: ${text}` : text }));
      continue;
    }
    const input = there.querySelector("input, select, textarea");
    if (input && !input.id) input.id = `at-${n}`;
    there.append(make("p", { class: "fault help at-field", id: `fault-${n}`, text }));
    for (const each of there.tagName === "FIELDSET" ? [] : [input].filter(Boolean)) each.setAttribute("aria-invalid", "true");
    const name = there.querySelector("legend, label")?.textContent.trim() || one.field;
    list.append(make("li", {}, make("a", { href: `#${input?.id || "main"}`, text: `${name}: ${text}` })));
  }
  $("faults").replaceChildren(list);
  $("faults").hidden = false;
  $("faults").focus();
}

// --- doing -----------------------------------------------------------------------------------------------------------

/** What is wrong with the words, in this page's language: the preview tells the rule of each fault. */
async function inWords(error) {
  try {
    const told = await api("POST", "/broadcasts/preview", { ...body(), sample: 0 });
    return told.faults.length ? { errors: told.faults, message: "" } : error;
  } catch {
    return error;
  }
}

async function busy(button, work) {
  button.disabled = true;
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status === 400) showFaults(await inWords(error));
    else tell(words("failed", { detail: error.message }), true);
  } finally {
    button.disabled = false;
  }
}

$("preview").addEventListener("click", () =>
  busy($("preview"), async () => {
    clearFaults();
    const shown = $("shown");
    const waiting = setTimeout(() => shown.replaceChildren(make("h2", { text: facts.preview.title }), make("p", { class: "busy", text: words("loading") })), 150);
    try {
      const found = await api("POST", "/broadcasts/preview", { ...body(), title: undefined, ...(facts.found ? { id: facts.found.id } : {}) });
      shown.replaceChildren(make("h2", { text: facts.preview.title }), make("p", { class: "stale help", hidden: true, text: facts.preview.stale }), ...previewed(found));
      looked = true;
      if (found.faults.length) showFaults({ errors: found.faults, message: "" });
    } finally {
      clearTimeout(waiting);
    }
  }),
);

form.addEventListener("submit", (event) => {
  event.preventDefault();
  busy($("save"), async () => {
    clearFaults();
    const asked = body();
    const made = facts.found ? await api("PATCH", `/broadcasts/${facts.found.id}`, { ...asked, version: facts.found.version }) : await api("POST", "/broadcasts", asked);
    left = true;
    location.href = `/console/broadcasts/${made.id}`;
  });
});

$("add-condition").addEventListener("click", () => condition().querySelector(".field").focus());
$("add-variant").addEventListener("click", () => variant());
for (const box of all(".template")) box.querySelector("select").addEventListener("change", () => templateFields(box));
for (const button of all(".up")) {
  button.addEventListener("click", () => {
    const line = button.closest("li");
    line.previousElementSibling?.before(line);
    button.focus();
    edited();
  });
}
let lastArea = document.querySelector(".wording textarea");
for (const area of all(".wording textarea")) area.addEventListener("focus", () => (lastArea = area));
for (const button of all(".variable")) {
  button.addEventListener("click", () => {
    lastArea.setRangeText(`{{ ${button.dataset.name} }}`, lastArea.selectionStart, lastArea.selectionEnd, "end");
    lastArea.focus();
    edited();
  });
}
let [touched, left] = [false, false];
form.addEventListener("input", () => {
  touched = true;
  edited();
});
form.addEventListener("change", edited);
addEventListener("beforeunload", (event) => {
  if (touched && !left) event.preventDefault();
});

if (facts.found) show(facts.found);
else if (byName["member.is"]) condition({ field: "member.is", op: "=", value: true });
arranged();
