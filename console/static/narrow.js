// What narrows a condition down: since when, until when, on which channel, at which shop, of which campaign, in which state …

import { facts, make, words } from "./console.js";
import { choice, isTime, ofChoice, time } from "./values.js";

const TIMES = ["since", "until"];
const isDays = (value) => value?.days !== undefined;

/** Whether a narrowing can be shown here as it is. */
export const narrowed = (name, value) => (TIMES.includes(name) ? isTime(value) : typeof value === "string");

/** What a field's condition is narrowed down by, and what else it may be: nodes. `given`: by name. */
export function narrowing(field, given, changed) {
  if (!field.qualifiers.length) return [];
  const shown = make("span", { class: "narrowed" });
  const more = choice([["", words("narrow")]], "", { class: "more", "aria-label": `${field.title}: ${words("narrow")}` });
  const lately = () => shown.querySelector('[data-narrow="lately"]');
  const offered = () => field.qualifiers.filter((name) => !shown.querySelector(`[data-narrow="${name}"]`));
  const arrange = () => {
    more.replaceChildren(make("option", { value: "", text: words("narrow") }), ...offered().map((name) => make("option", { value: name, text: facts.besides[name] || name })));
    more.hidden = !offered().length;
  };
  const add = (name, value) => {
    if (name === "since" && lately()) lately().remove();
    shown.append(one(field, name, value, (line) => {
      line.remove();
      if (name === "since") shown.prepend(recent(field));
      arrange();
      more.focus();
      changed();
    }));
    arrange();
  };
  if (field.qualifiers.includes("since") && (!given.since || isDays(given.since))) shown.append(recent(field, given.since?.days));
  for (const [name, value] of Object.entries(given)) if (name !== "since" || !isDays(value)) add(name, value);
  more.addEventListener("input", () => {
    if (!more.value) return;
    add(more.value);
    shown.lastElementChild.querySelector("input, select").focus();
  });
  arrange();
  return [shown, more];
}

/** "In the last n days", of what happened at a time; left empty: whenever. */
function recent(field, days = "") {
  const input = make("input", { type: "number", min: 0, max: 36500, class: "days", value: days, placeholder: words("any_time"), "aria-label": words("since_label", { title: field.title }) });
  const made = make("span", { class: "since", "data-narrow": "lately" }, words("in_last"), input, words("days"));
  made.narrow = () => (input.value ? { since: { days: Number(input.value) } } : {});
  return made;
}

function one(field, name, value, remove) {
  const label = `${field.title}: ${facts.besides[name] || name}`;
  const input = TIMES.includes(name) ? time(value, label) : named(field, name, value, label);
  const made = make("span", { class: "one", "data-narrow": name }, make("b", { text: facts.besides[name] || name }), input);
  made.append(make("button", { type: "button", class: "quiet", "aria-label": `${facts.compose.remove}: ${label}`, onclick: () => remove(made) }, make("span", { "aria-hidden": "true", text: "×" })));
  made.narrow = () => ({ [name]: input.time ? input.time() : input.value.trim() });
  return made;
}

function named(field, name, value, label) {
  const known = facts.narrow[name === "state" ? `state of ${field.name.split(".")[0]}` : name];
  if (!known) return make("input", { type: "text", value: value ?? "", "aria-label": label });
  const options = value && !known.includes(value) ? [value, ...known] : known;
  return choice(options.map((each) => [each, ofChoice(field, each)]), value, { "aria-label": label });
}
