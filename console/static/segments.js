// The saved segments: how many buyers fit each, one question after the other.

import { Refused, api, facts, number } from "./console.js";

for (const one of facts.segments) {
  const cell = document.querySelector(`[data-count="${one.id}"]`);
  try {
    cell.textContent = number((await api("POST", "/segments/preview", { where: one.where })).count);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    cell.textContent = "–";
    cell.title = error.message;
  }
}
