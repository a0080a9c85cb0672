// One saved segment: its name and conditions, who fits now, and taking it away.

import { builder } from "./conditions.js";
import { $, Refused, api, facts, make, number, tell, words } from "./console.js";
import { clearFaults, showFaults } from "./faults.js";
import { fitting, guard } from "./form.js";
import { failed } from "./told.js";

const found = facts.found;
const form = $("segment");
const fit = fitting();
const sent = guard(form);

const who = builder($("builder"), () => edited(), { field: "member.is", op: "=", value: true });

function edited() {
  if (who.empty() || who.missing()) return;
  fit.ask(who.where(), (text) => ($("count").textContent = text), ({ count, sample }) => {
    $("count").textContent = count ? words("count", { n: number(count) }) : words("count_none");
    $("sample").replaceChildren(...sample.map((one) => make("li", {}, make("span", { text: one.name || one.id }))));
  });
}

function lacking() {
  const name = $("name").value.trim();
  const lines = [];
  if (!name) lines.push({ input: $("name"), text: words("name_missing") });
  else if (facts.taken.includes(name)) lines.push({ input: $("name"), text: words("name_taken", { name }) });
  if (who.empty()) lines.push({ input: $("builder-add"), text: words("no_condition") });
  else if (who.missing()) lines.push({ input: who.missing(), text: words("value_missing") });
  return lines;
}

async function doing(button, work) {
  button.disabled = true;
  try {
    await work();
    sent();
    location.href = "/console/segments";
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status === 400) showFaults(error.errors.length ? error.errors : [{ field: "", text: failed(error) }]);
    else if (error.kind === "in-use") showFaults([{ field: "", text: words("segment_in_use") }]);
    else tell(words("failed", { detail: failed(error) }), true);
  } finally {
    button.disabled = false;
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  clearFaults();
  const faults = lacking();
  if (faults.length) {
    showFaults(faults);
    return;
  }
  const body = { name: $("name").value.trim(), where: who.where() };
  doing($("save"), () => (found ? api("PATCH", `/segments/${found.id}`, { ...body, version: found.version }) : api("POST", "/segments", body)));
});

$("delete")?.addEventListener("click", () => {
  $("sure").returnValue = "";
  $("sure").showModal();
  $("sure-no").focus();
});
$("sure").addEventListener("close", () => {
  if ($("sure").returnValue === "go") doing($("delete"), () => api("DELETE", `/segments/${found.id}?version=${found.version}`));
});
form.addEventListener("input", edited);
form.addEventListener("change", edited);

if (found) {
  $("name").value = found.name;
  who.show(found.where);
  edited();
} else who.add();
