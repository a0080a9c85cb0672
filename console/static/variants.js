// Other words for some of the buyers: those whom conditions hold, or a share of the rest.

import { $, make, words } from "./console.js";
import { builder } from "./conditions.js";

const REST = "rest"; // buyers whom no condition holds: they read the broadcast's own text
const boxes = () => [...$("variants").children];
let edited = () => {};

export function start(changed) {
  edited = changed;
  $("add-variant").addEventListener("click", () => add().querySelector(".kind").focus());
}

function add(one = { name: free("abcdefgh"), weight: 1, where: {}, text: {} }) {
  const box = $("variant").content.firstElementChild.cloneNode(true);
  const [name, kind, weight] = [".name", ".kind", ".weight"].map((part) => box.querySelector(part));
  name.value = one.name;
  weight.value = one.weight;
  kind.value = one.where ? "where" : "share";
  for (const area of box.querySelectorAll("textarea")) area.value = one.text[area.dataset.locale] || "";
  box.who = builder(box.querySelector(".builder"), () => edited(), { field: "buyer.tags", op: "=" });
  if (one.where && Object.keys(one.where).length) box.who.show(one.where);
  const arrange = () => {
    box.querySelector(".builder").hidden = kind.value !== "where";
    box.querySelector(".shared").hidden = kind.value === "where";
    if (kind.value === "where" && box.who.empty()) box.who.add();
  };
  kind.addEventListener("change", arrange);
  box.querySelector(".drop").addEventListener("click", () => {
    const next = box.nextElementSibling?.querySelector(".kind") || $("add-variant");
    box.remove();
    next.focus();
    edited();
  });
  $("variants").append(box);
  arrange();
  edited();
  return box;
}

function free(letters) {
  const taken = boxes().map((box) => box.querySelector(".name").value.trim());
  return [...letters].find((letter) => !taken.includes(letter)) || "";
}

const conditional = (box) => box.querySelector(".kind").value === "where";

/** As the API takes them. Where all have conditions, the rest is named as well, with no text of its own. */
export function variants() {
  const made = boxes().map((box) => ({
    name: box.querySelector(".name").value.trim(),
    weight: Number(box.querySelector(".weight").value),
    where: conditional(box) ? box.who.where() : null,
    text: Object.fromEntries([...box.querySelectorAll("textarea")].filter((area) => area.value.trim()).map((area) => [area.dataset.locale, area.value])),
  }));
  const names = made.map((one) => one.name);
  if (made.length && made.every((one) => one.where)) made.push({ name: [REST, "others", "remaining"].find((name) => !names.includes(name)), weight: 1, where: null, text: {} });
  return made;
}

export function show(found) {
  const others = found.filter((one) => !one.where);
  const spoken = (one) => one.where || others.length > 1 || others.length === found.length || Object.keys(one.text).length;
  found.filter(spoken).forEach(add);
}

/** Names that the API's faults may give to a field: by the variant's name, or by its place. */
export function addressed() {
  for (const box of boxes()) {
    const mine = `variants.${box.querySelector(".name").value.trim()}`;
    box.dataset.field = mine;
    box.querySelector(".builder").dataset.field = `${mine}.where`;
    for (const area of box.querySelectorAll("textarea")) area.closest(".wording").dataset.field = `${mine}.text.${area.dataset.locale}`;
  }
}
export const named = (field) => field.replace(/^variants\.(\d+)/, (whole, n) => boxes()[n]?.dataset.field || whole);

/** The first condition without a value. */
export const missing = () => boxes().filter(conditional).map((box) => box.who.missing()).find(Boolean);

/** What those read whom no condition holds. */
export function arranged() {
  const all = boxes();
  const told = !all.length ? "" : all.every(conditional) ? words("rest_reads") : all.some(conditional) ? words("rest_shares") : "";
  $("rest").replaceChildren(...(told ? [make("span", { text: told })] : []));
}
