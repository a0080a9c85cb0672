// What the API says, in this page's language.

import { facts, moment, say, words } from "./console.js";

const TOLD = [
  [/^there is no product (.+)$/, "no_product"],
  [/^(.+) is not sold$/, "not_sold"],
  [/^there is no campaign (.+)$/, "no_campaign"],
  [/^(?:there is no segment .*|there is no segment with this id|audience: .*no segment.*)$/, "no_segment"],
  [/^(\S+) stands twice$/, "twice"],
  [/^one without conditions needs a weight/, "needs_weight"],
  [/^must be 1 to 32 of /, "variant_name"],
  [/^must be after now/, "after_now"],
  [/^must be a whole number/, "whole_number"],
  [/^must be an amount of /, "an_amount"],
  [/^must be from (\S+) to (\S+)$/, "from_to"],
  [/^must go from the lower to the higher$/, "lower_first"],
  [/^(?:Input should be less than or equal to|must be at most) (\S+)$/, "at_most"],
  [/^Input should be greater than or equal to (\S+)$/, "at_least"],
  [/^String should have at most (\d+) characters$/, "too_long"],
  [/^(?:Input should be ''|String should match|must be a key)/, "campaign_key"],
  [/^(.+) submitted it: somebody else must approve it$/, "second_person"],
  [/^whoever submitted a broadcast does not approve it/, "second_person"],
  [/reaches (\d+) now: look at the preview again$/, "other_count"],
  [/^it begins just now/, "begins_now"],
  [/^(\d+) of the last (\d+) failed$/, "many_failed"],
  [/^an account can send nothing/, "account_dead"],
  [/^its audience has grown to (\d+), above the (\d+)/, "grown"],
  [/^its audience has grown to (\d+), from the (\d+)/, "outgrown"],
  [/^audience: (.+)$/, "audience_wrong"],
  [/^its weekly broadcast was cancelled$/, "week_cancelled"],
  [/not a phone number$/, "no_phone"],
  [/there is no buyer with this id$/, "no_buyer"],
  [/said stop; only they can start again$/, "said_stop"],
  [/none of its accounts sends texts$/, "no_texts"],
  [/must be ACCOUNT:ID with one of its accounts: (.+)$/, "an_address"],
  [/there is no account (\S+)/, "no_account"],
  [/^it is used by (.+)$/, "in_use"],
];

/** What the API says in English, in this page's language: its usual sentences whole, any other one behind what `kind` of trouble it is. */
export function told(detail, kind = "other") {
  const state = /^a broadcast that is .* cannot be .*; (.+) made it (\w+) at (\S+)$/.exec(detail);
  if (state) return say(facts.told.other_state, { who: state[1], state: facts.states[state[2]] || state[2], at: moment(state[3]) });
  for (const [pattern, name] of TOLD) {
    const found = pattern.exec(detail);
    if (found) return say(facts.told[name], { 1: found[1], 2: found[2] });
  }
  return facts.lang === "en" || !detail ? detail : words("kind_says", { kind: facts.problems[kind] || facts.problems.other, detail });
}

/** What went wrong with a call, in this page's language. */
export const failed = (error) => (error.ours ? error.message : told(error.errors[0]?.detail || error.message, error.kind));

/** What the check of the words found, in this page's language. */
export function finding(one) {
  const rule = facts.rules[one.rule];
  if (!rule) return told(one.detail, "bad-body");
  const values = { ...one.args };
  if (values.locale) values.locale = facts.languages[values.locale] || values.locale;
  if (values.instead) values.instead = facts.languages[values.instead] || values.instead;
  if (values.unit) values.unit = facts.units[values.unit] || values.unit;
  return say(rule.replace(/\{\{/g, "\u0001").replace(/\}\}/g, "\u0002"), values).replace(/\u0001/g, "{").replace(/\u0002/g, "}");
}
