// The messages of one broadcast, by state and reason: who it was for, what became of it, and why.

import { $, Refused, api, facts, make, moment, reason, tell, words } from "./console.js";
import { failed } from "./told.js";

let cursor = "";
const { id, state, why } = facts;
const rows = $("messages").tBodies[0];

async function page() {
  const query = new URLSearchParams({ broadcast: id, limit: "50", ...(state && { state }), ...(why && { reason: why }), ...(cursor && { cursor }) });
  const found = await api("GET", `/messages?${query}`);
  rows.append(...found.items.map(row));
  cursor = found.next_cursor;
  $("messages").hidden = !rows.rows.length;
  $("more").hidden = !cursor;
  $("loading").hidden = true;
  if (!rows.rows.length && cursor) return page();
  $("none").hidden = Boolean(rows.rows.length);
}

function row(one) {
  const shown = one.reason ? `${facts.message_states[one.state]} · ${reason(one.reason)}` : facts.message_states[one.state];
  const buyer = one.buyer ? make("a", { href: `/api/v1/buyers/${one.buyer}`, title: words("raw") }, make("span", { text: one.name || "" }), " ", make("code", { text: one.buyer })) : "–";
  const because = `/api/v1/decisions?message=${one.id}`;
  return make(
    "tr",
    {},
    make("td", { class: "name" }, buyer),
    make("td", { text: one.account || "–" }),
    make("td", { class: "became" }, make("span", { class: `state ${one.state}`, text: shown }), " ", make("a", { class: "help", href: because, text: words("decision") })),
    make("td", { class: "text" }, one.text ? make("a", { class: "plain", href: `/api/v1/messages/${one.id}`, title: words("raw"), text: one.text }) : "–"),
    make("td", { class: "when", text: one.history.length ? moment(one.history.at(-1).at) : "" }),
  );
}

async function more() {
  $("more").disabled = true;
  try {
    await page();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    $("loading").hidden = true;
    $("more").hidden = false;
    tell(words("failed", { detail: failed(error) }), true);
  } finally {
    $("more").disabled = false;
  }
}

$("more").addEventListener("click", more);
more();
