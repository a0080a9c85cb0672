// The saved segments: how many buyers fit each, counted when its line is seen, one question after the other.

import { Refused, api, facts, number } from "./console.js";
import { failed } from "./told.js";

const cells = new Map(facts.segments.map((one) => [document.querySelector(`[data-count="${one.id}"]`), one]));
let last = Promise.resolve();

async function count(cell) {
  try {
    cell.textContent = number((await api("POST", "/segments/preview", { where: cells.get(cell).where })).count);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    cell.textContent = "–";
    cell.title = failed(error);
  }
}

const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    seen.unobserve(target);
    last = last.then(() => count(target));
  }
});
for (const cell of cells.keys()) seen.observe(cell);
