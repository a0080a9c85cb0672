// Conditions of buyers: fields, operators and values of their types; for audiences, variants and saved segments alike.

import { $, facts, make, words } from "./console.js";

const byName = Object.fromEntries(facts.fields.map((field) => [field.name, field]));
const ofChoice = (value) => facts.choices[value] ?? (value || "–");

/** The builder that stands in `root`; `changed` is called after every change. `first`: the condition that it begins with. */
export function builder(root, changed = () => {}, first = null) {
  const [match, list, note] = [root.querySelector(".match"), root.querySelector(".conditions"), root.querySelector(".kept")];
  let kept = null; // conditions that cannot be shown here stay as they are

  function add(test = first || { field: facts.fields[0]?.name }) {
    kept = null;
    note.hidden = true;
    const line = condition(list, test, changed);
    changed();
    return line;
  }

  function show(where) {
    const how = ["all", "any"].find((word) => word in where);
    const parts = how ? where[how] : null;
    list.replaceChildren();
    kept = !parts || parts.some((part) => !part.field || !(part.field in byName)) ? where : null;
    note.hidden = !kept;
    if (kept) return;
    match.value = how;
    parts.forEach((part) => condition(list, part, changed));
  }

  root.querySelector(".add-condition").addEventListener("click", () => add().querySelector(".field").focus());
  return {
    root,
    add,
    show,
    lines: () => [...list.children],
    where: () => kept || { [match.value]: [...list.children].map(read) },
    /** Values that are still missing: they are asked for here, where the words are the page's. */
    missing: () => [...list.children].map(lacking).find(Boolean),
    empty: () => !kept && !list.children.length,
  };
}

/** The first field of a condition that says nothing yet. */
function lacking(line) {
  const boxes = line.querySelector(".several");
  if (boxes) return boxes.querySelector("input:checked") ? null : boxes.querySelector("input");
  return [...line.querySelectorAll(".value input:not(.days)")].find((input) => !input.value.trim()) || null;
}

function condition(list, test, changed) {
  const line = $("condition").content.firstElementChild.cloneNode(true);
  const [field, op, value] = [line.querySelector(".field"), line.querySelector(".op"), line.querySelector(".value")];
  for (const one of facts.fields) field.append(make("option", { value: one.name, text: one.title }));
  const valued = (given) => {
    value.replaceChildren(...inputs(byName[field.value], op.value, given), ...lately(byName[field.value], line.extra), ...besides(line.extra));
    changed();
  };
  const operated = (wanted, given) => {
    op.replaceChildren(...byName[field.value].operators.map((name) => make("option", { value: name, text: facts.operators[name] || name })));
    if (wanted) op.value = wanted;
    valued(given);
  };
  // By "input", which the form hears after these: it must not read a condition that is half changed.
  field.addEventListener("input", () => {
    line.extra = {};
    operated();
  });
  op.addEventListener("input", () => valued());
  line.querySelector(".remove").addEventListener("click", () => {
    const next = line.nextElementSibling?.querySelector(".field") || list.parentElement.querySelector(".add-condition");
    line.remove();
    next.focus();
    changed();
  });
  if (test.field in byName) field.value = test.field;
  line.extra = Object.fromEntries(Object.entries(test).filter(([name]) => !["field", "op", "value"].includes(name)));
  list.append(line);
  operated(test.op, test.value);
  return line;
}

/** "In the last n days", of what happened at a time: orders, items, messages. */
function lately(field, extra) {
  if (!field.since || (extra.since && extra.since.days === undefined)) return [];
  const input = make("input", { type: "number", min: 1, max: 36500, class: "days", value: extra.since?.days ?? "", placeholder: words("any_time"), "aria-label": words("since_label", { title: field.title }) });
  return [make("span", { class: "since" }, words("in_last"), input, words("days"))];
}

/** What else narrows a condition down (account, a date …): set by the API, kept here. */
function besides(extra) {
  const told = Object.entries(extra || {}).filter(([name, value]) => name !== "since" || value.days === undefined).map(([name, value]) => `${facts.besides[name] || name}: ${value?.days === undefined ? value : `${value.days} ${words("days_ago")}`}`);
  return told.length ? [make("small", { text: told.join("; ") })] : [];
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
  if (field.choices?.length && !["in", "not_in", "all"].includes(op)) return [choice(field.choices.map((one) => [one, ofChoice(one)]), given, label)];
  const listed = ["in", "not_in", "all"].includes(op);
  if (field.choices?.length) return [several(field, given || [], label)];
  const shown = listed ? (given || []).join(", ") : (given ?? "");
  return [make("input", { type: listed ? "text" : type, step: "any", value: shown, "data-as": listed && "list", placeholder: listed ? words("list_help") : field.hint || "", ...label })];
}

function choice(options, given, label) {
  const made = make("select", label, ...options.map(([value, text]) => make("option", { value, text })));
  if (given !== undefined) made.value = given;
  return made;
}

/** Several of a field's choices: a box each. */
function several(field, given, label) {
  const boxes = field.choices.map((one) => make("label", { class: "choice" }, make("input", { type: "checkbox", value: one, checked: given.includes(one) }), make("span", { text: ofChoice(one) })));
  return make("span", { class: "several", role: "group", ...label }, ...boxes);
}

function read(line) {
  const [field, op] = [line.querySelector(".field").value, line.querySelector(".op").value];
  const found = byName[field];
  const days = line.querySelector(".days");
  const extra = { ...line.extra, ...(days?.value && { since: { days: Number(days.value) } }) };
  if (days && !days.value) delete extra.since;
  const boxes = line.querySelector(".several");
  if (boxes) return { field, op, value: [...boxes.querySelectorAll("input:checked")].map((box) => box.value), ...extra };
  const typed = [...line.querySelector(".value").querySelectorAll("input:not(.days), select")];
  const one = (input) => {
    if (input.dataset.as === "days" && (op === "within" || op === "not_within" || found.type === "date")) return { days: Number(input.value) };
    if (input.dataset.as === "list") return input.value.split(/[,，、]/).map((part) => part.trim()).filter(Boolean).map((part) => plain(found, part));
    if (op === "known" || found.type === "yes/no") return input.value === "true";
    return plain(found, input.value);
  };
  const value = op === "between" ? typed.map((input) => plain(found, input.value)) : one(typed[0]);
  return { field, op, value, ...extra };
}

const plain = (field, text) => (["number", "days"].includes(field.type) && text !== "" ? Number(text) : text);
