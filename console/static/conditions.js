// Conditions of buyers: groups of tests, each with field, operator, value and what narrows it down; for audiences, variants and saved segments alike.
// All that the API takes can be edited here; what is not touched goes back exactly as it came, and what this page does not know stays as it is.

import { $, facts, make, words } from "./console.js";
import { narrowed, narrowing } from "./narrow.js";
import { inputs, lacking as lackingValue, readValue, shaped } from "./values.js";

const byName = Object.fromEntries(facts.fields.map((field) => [field.name, field]));
const GROUPS = ["all", "any", "none", "not"];

/** The builder that stands in `root`; `changed` is called after every change. `first`: the condition that it begins with. */
export function builder(root, changed = () => {}, first = null) {
  const top = group(root, changed, first || { field: facts.fields[0]?.name });
  return {
    root,
    add: top.add,
    show: top.show,
    lines: () => [...top.list.children],
    where: top.read,
    /** Values that are still missing: they are asked for here, where the words are the page's. */
    missing: () => top.lacking(),
    empty: () => !top.list.children.length,
  };
}

/** A group in an element that holds its word, its list and its buttons. */
function group(root, changed, first) {
  const [match, list, bar] = [".match", ".conditions", ".bar"].map((part) => root.querySelector(`:scope > ${part}, :scope > .head > ${part}`));
  const items = () => [...list.children].map((line) => line.item);
  let negated = false; // it came as {"not": …}

  /** A new condition, or `test` as it was given. */
  function add(test = null) {
    const line = condition(list, test || first, Boolean(test), changed);
    changed();
    return line;
  }

  function addGroup(where = null) {
    const line = $("group").content.firstElementChild.cloneNode(true);
    list.append(line);
    const inner = group(line, changed, first);
    line.item = inner;
    removable(line, list, changed);
    if (where) inner.show(where);
    else {
      inner.match.value = match.value === "any" ? "all" : "any";
      inner.add();
    }
    return line;
  }

  function show(where) {
    const how = GROUPS.find((word) => word in where);
    negated = how === "not";
    match.value = negated ? "none" : how;
    list.replaceChildren();
    for (const part of negated ? [where.not] : where[how]) {
      if (isGroup(part)) addGroup(part);
      else if (fits(part)) add(part);
      else raw(list, part, changed);
    }
  }

  bar.querySelector(".add-condition").addEventListener("click", () => add().querySelector(".field").focus());
  bar.querySelector(".add-group").addEventListener("click", () => {
    addGroup().querySelector(".field").focus();
    changed();
  });
  return {
    match,
    list,
    add,
    show,
    read: () => (negated && match.value === "none" && list.children.length === 1 ? { not: items()[0].read() } : { [match.value]: items().map((item) => item.read()) }),
    lacking: () => items().map((item) => item.lacking()).find(Boolean) || null,
  };
}

const isGroup = (part) => {
  const how = Object.keys(part || {}).filter((word) => GROUPS.includes(word));
  return how.length === 1 && Object.keys(part).length === 1 && (how[0] === "not" ? typeof part.not === "object" : Array.isArray(part[how[0]]));
};

/** Whether a test is one that this page can show as it is. */
function fits(test) {
  const field = byName[test?.field];
  if (!field || !field.operators.includes(test.op)) return false;
  const besides = Object.entries(test).filter(([name]) => !["field", "op", "value"].includes(name));
  return shaped(field, test.op, test.value) && besides.every(([name, value]) => field.qualifiers.includes(name) && narrowed(name, value));
}

function removable(line, list, changed) {
  line.querySelector(":scope > .remove, :scope > .head > .remove").addEventListener("click", () => {
    const next = line.nextElementSibling?.querySelector(".field, .remove") || list.parentElement.querySelector(":scope > .bar > .add-condition");
    const within = list.closest(".group");
    line.remove();
    if (within && !list.children.length) {
      within.querySelector(":scope > .head > .remove").click(); // a group without conditions says nothing
      return;
    }
    next.focus();
    changed();
  });
}

/** A test of a kind that this page does not know: it stays as it is, and can be taken away. */
function raw(list, test, changed) {
  const line = make("li", { class: "condition kept" }, make("code", { text: JSON.stringify(test) }), make("small", { class: "help", text: facts.compose.kept }), make("button", { type: "button", class: "quiet remove", text: facts.compose.remove }));
  line.item = { read: () => test, lacking: () => null };
  list.append(line);
  removable(line, list, changed);
}

/** `given`: it was written before; until somebody touches it, it stays as it was written. */
function condition(list, test, given, changed) {
  const line = $("condition").content.firstElementChild.cloneNode(true);
  const [field, op, value, besides] = [".field", ".op", ".value", ".besides"].map((part) => line.querySelector(part));
  for (const one of facts.fields) field.append(make("option", { value: one.name, text: one.title }));
  const touched = () => (given = false);
  const valued = (before) => {
    value.replaceChildren(...inputs(byName[field.value], op.value, before));
    changed();
  };
  const operated = (wanted, before, narrow = {}) => {
    const now = byName[field.value];
    op.replaceChildren(...operators(now));
    if (wanted) op.value = wanted === "known" && before === false ? "unknown" : wanted;
    op.hidden = op.options.length === 1; // "is" alone says nothing
    line.classList.toggle("plain", op.hidden);
    besides.replaceChildren(...narrowing(now, narrow, () => (touched(), changed())));
    valued(before);
  };
  line.addEventListener("input", touched, true);
  // By "input", which the form hears after these: it must not read a condition that is half changed.
  field.addEventListener("input", () => operated());
  op.addEventListener("input", () => valued());
  if (test.field in byName) field.value = test.field;
  line.item = {
    read: () => (given ? test : read(byName[field.value], op.value, value, besides)),
    lacking: () => (given ? null : lackingValue(value) || lackingValue(besides)),
  };
  list.append(line);
  removable(line, list, changed);
  const rest = Object.fromEntries(Object.entries(test).filter(([name]) => !["field", "op", "value"].includes(name)));
  operated(test.op, test.value, rest);
  return line;
}

function operators(field) {
  const told = field.type === "list" ? facts.operators_of_lists : facts.operators;
  const names = field.operators.flatMap((name) => (name === "known" ? ["known", "unknown"] : [name]));
  return names.map((name) => make("option", { value: name, text: told[name] || facts.operators[name] || name }));
}

function read(field, op, value, besides) {
  const found = ["known", "unknown"].includes(op) ? { op: "known", value: op === "known" } : { op, value: readValue(field, op, value) };
  for (const one of besides.querySelectorAll("[data-narrow]")) Object.assign(found, one.narrow());
  return { field: field.name, ...found };
}
