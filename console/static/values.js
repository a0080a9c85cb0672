// The value of a condition, by the type of its field: what is typed or chosen, and read back.

import { facts, make, words } from "./console.js";
import { instant, wall } from "./schedule.js";

const LISTED = ["in", "not_in", "all"];
const SEPARATED = /[,，、]/;
/** A value in words: of messages "delivered" is another thing than of parcels. */
export const ofChoice = (field, value) => (field.name.startsWith("messages.") && facts.message_states[value]) || (facts.choices[value] ?? (value || "–"));
const isDays = (value) => Number.isInteger(value?.days) && Object.keys(value).length === 1;

// --- times --------------------------------------------------------------------------------------------------------------

/** Whether something is a time as conditions say it: a day, an instant, or so many days ago. */
export const isTime = (value) => isDays(value) || (typeof value === "string" && /^\d{4}-\d\d-\d\d(T.+)?$/.test(value));

/** A time: a day, so many days ago, or an instant by the shop's clock. */
export function time(given, label) {
  const mode = isDays(given) ? "days" : typeof given === "string" && given.includes("T") ? "at" : "day";
  const select = choice(["day", "days", "at"].map((name) => [name, words(`time_${name}`)]), mode, { class: "mode", "aria-label": `${label}: ${words("time_kind")}` });
  const box = make("span", { class: "time", "data-time": true }, select);
  const fill = (value) => {
    const types = { day: { type: "date" }, days: { type: "number", min: 0, max: 36500 }, at: { type: "datetime-local" } };
    const input = make("input", { ...types[select.value], value, "aria-label": label });
    box.replaceChildren(select, input, ...(select.value === "days" ? [words("days")] : []));
  };
  const shown = mode === "days" ? String(given.days) : mode === "at" ? wall(given) : given || "";
  fill(shown);
  select.addEventListener("input", () => fill(""));
  box.time = () => {
    const typed = box.querySelector("input").value;
    if (given && select.value === mode && typed === shown) return given; // seconds, too
    if (!typed) return ""; // it is asked for
    return select.value === "days" ? { days: Number(typed) } : select.value === "at" ? instant(typed) : typed;
  };
  return box;
}

// --- values -------------------------------------------------------------------------------------------------------------

/** Whether a value can be shown here as it is. */
export function shaped(field, op, value) {
  if (op === "known" || field.type === "yes/no") return typeof value === "boolean";
  if (op === "within" || op === "not_within") return Number.isInteger(value) || isDays(value);
  if (LISTED.includes(op)) return Array.isArray(value) && value.every((one) => single(field, one) && !/\n/.test(one));
  if (op === "between") return Array.isArray(value) && value.length === 2 && value.every((one) => single(field, one));
  return single(field, value);
}

function single(field, value) {
  if (field.type === "date") return isTime(value);
  if (["number", "days"].includes(field.type)) return Number.isInteger(value);
  if (field.choices?.length) return field.choices.includes(value);
  return typeof value === "string" || (field.type === "money" && Number.isInteger(value));
}

/** The inputs of a value. */
export function inputs(field, op, given) {
  const name = `${field.title}: ${facts.compose.value}`;
  const label = { "aria-label": name };
  if (op === "known" || op === "unknown") return [];
  if (field.type === "yes/no") {
    return [choice([["true", facts.is[field.name] || words("yes")], ["false", facts.is_not[field.name] || words("no")]], String(given ?? true), label)];
  }
  if (op === "within" || op === "not_within") return [make("input", { type: "number", min: 1, value: given?.days ?? given ?? 30, "data-as": "days", ...label }), words("days")];
  const one = (value) => {
    if (field.type === "date") return time(value, name);
    const type = ["number", "days"].includes(field.type) ? "number" : "text";
    return make("input", { type, step: "any", value: value ?? "", placeholder: field.hint || "", ...label });
  };
  if (op === "between") return [one(given?.[0]), words("between"), one(given?.[1])];
  if (LISTED.includes(op)) {
    if (field.choices?.length) return [several(field, given || [], label)];
    const values = given || [];
    if (values.some((value) => SEPARATED.test(value))) return [make("textarea", { rows: 3, "data-as": "lines", placeholder: words("lines_help"), text: values.join("\n"), ...label })];
    return [make("input", { type: "text", value: values.join(", "), "data-as": "list", placeholder: words("list_help"), ...label })];
  }
  if (field.choices?.length) return [choice(field.choices.map((value) => [value, ofChoice(field, value)]), given, label)];
  return [one(given)];
}

export function choice(options, given, attributes) {
  const made = make("select", attributes, ...options.map(([value, text]) => make("option", { value, text })));
  if (given !== undefined) made.value = given;
  return made;
}

/** Several of a field's choices: a box each. */
function several(field, given, label) {
  const boxes = field.choices.map((one) => make("label", { class: "choice" }, make("input", { type: "checkbox", value: one, checked: given.includes(one) }), make("span", { text: ofChoice(field, one) })));
  return make("span", { class: "several", role: "group", ...label }, ...boxes);
}

/** The first input that says nothing yet. */
export function lacking(box) {
  const boxes = box.querySelector(".several");
  if (boxes) return boxes.querySelector("input:checked") ? null : boxes.querySelector("input");
  return [...box.querySelectorAll("input:not(.days), textarea")].find((input) => !input.value.trim()) || null;
}

/** What the inputs say, as conditions take it. */
export function readValue(field, op, box) {
  const boxes = box.querySelector(".several");
  if (boxes) return [...boxes.querySelectorAll("input:checked")].map((one) => one.value);
  const typed = [...box.children].filter((one) => one.matches("input, select, textarea, [data-time]"));
  const read = (input) => {
    if (input.time) return input.time();
    const how = input.dataset.as;
    if (how === "days") return { days: Number(input.value) };
    if (how) return input.value.split(how === "lines" ? "\n" : /[,，、]/).map((part) => part.trim()).filter(Boolean);
    if (field.type === "yes/no") return input.value === "true";
    return ["number", "days"].includes(field.type) && input.value !== "" ? Number(input.value) : input.value;
  };
  return op === "between" ? typed.map(read) : read(typed[0]);
}
