// Faults of a form: beside the field at fault, and listed on top, each in this page's language.

import { $, make } from "./console.js";
import { finding, told } from "./told.js";
import { named } from "./variants.js";

const form = document.querySelector("main form.sheet");

export function clearFaults() {
  $("faults").hidden = true;
  for (const line of form.querySelectorAll(".at-field")) line.remove();
  for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
}

/** The field nearest to what the API named; of conditions the one that is meant. */
function place(name) {
  for (let part = named(name).replace(/\[\d+\]/g, ""); part; part = part.includes(".") ? part.slice(0, part.lastIndexOf(".")) : "") {
    const found = document.querySelector(`[data-field="${CSS.escape(part)}"]`);
    if (!found) continue;
    let there = found;
    for (const [, n] of name.matchAll(/\.(?:(?:all|any|none)\[(\d+)\]|not\b)/g)) there = there.querySelector(".conditions")?.children[Number(n || 0)] || there;
    return there;
  }
  return null;
}

const inside = (there, name) => there.querySelector(/\.value/.test(name) ? ".value input, .value select" : "input:not([hidden]), select, textarea") || there.querySelector("input, select, textarea");

/** `lines`: of each the field as the API names it, or the `input` itself, and what is wrong: the API's `detail`, or `text` of our own. */
export function showFaults(lines) {
  clearFaults();
  const list = make("ul");
  for (const [n, one] of lines.entries()) {
    const text = one.text ?? (one.rule ? finding(one) : told(one.detail, "bad-body"));
    const there = one.input ? one.input.closest("[data-field], .condition") : one.field ? place(one.field) : null;
    if (!there) {
      list.append(make("li", { text: one.field ? `${one.field}: ${text}` : text }));
      continue;
    }
    const input = one.input || inside(there, one.field);
    if (input && !input.id) input.id = `at-${n}`;
    there.append(make("p", { class: "fault help at-field", id: `fault-${n}`, text }));
    if (input?.matches("input, select, textarea") && (one.input || there.tagName !== "FIELDSET")) {
      input.setAttribute("aria-invalid", "true");
      for (let box = input.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
    }
    const name = (there.querySelector("legend, label") || there.closest("fieldset")?.querySelector("legend"))?.textContent.trim() || one.field;
    const link = make("a", { href: `#${input?.id || "main"}`, text: `${name}: ${text}` });
    link.addEventListener("click", (event) => {
      event.preventDefault();
      input?.scrollIntoView({ block: "center" });
      input?.focus();
    });
    list.append(make("li", {}, link));
  }
  $("faults").replaceChildren(list);
  $("faults").hidden = false;
  $("faults").focus();
}
