// The messages of one broadcast, by state and reason.

import { $, api, facts, make, moment, reason } from "./console.js";

let cursor = "";
const { id, state, why } = facts;

async function page() {
  const query = new URLSearchParams({ broadcast: id, state, limit: "50", ...(cursor ? { cursor } : {}) });
  const found = await api("GET", `/messages?${query}`);
  for (const one of found.items) {
    if (why && one.reason !== why) continue;
    const told = one.reason ? `${facts.message_states[one.state]} · ${reason(one.reason)}` : facts.message_states[one.state];
    $("messages").tBodies[0].append(
      make(
        "tr",
        {},
        make("td", {}, make("code", { text: one.buyer || "–" })),
        make("td", { text: one.account || "–" }),
        make("td", {}, make("span", { class: `state ${one.state}`, text: told })),
        make("td", { class: "text", text: one.text || "–" }),
        make("td", { class: "when", text: one.history.length ? moment(one.history.at(-1).at) : "" }),
      ),
    );
  }
  cursor = found.next_cursor;
  const any = $("messages").tBodies[0].rows.length;
  $("messages").hidden = !any;
  $("more").hidden = !cursor;
  if (!any && cursor) return page();
  $("none").hidden = Boolean(any);
}

$("more").addEventListener("click", page);
page();
