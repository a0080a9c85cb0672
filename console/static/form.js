// What forms with conditions share: nothing typed is left unseen, and how many fit now is told a moment after the last change.

import { Refused, api, words } from "./console.js";
import { failed } from "./told.js";

const MOMENT_MS = 450;

/** Asks before the page is left with something typed and not sent. Answers what is to be called when it was sent. */
export function guard(form) {
  let [touched, left] = [false, false];
  form.addEventListener("input", () => (touched = true));
  addEventListener("beforeunload", (event) => {
    if (touched && !left) event.preventDefault();
  });
  return () => (left = true);
}

/** Counts whom conditions hold. `ask` is called as often as one likes: the API is asked once typing stops, and only the last question is answered. */
export function fitting() {
  let [asked, waiting] = ["", 0];
  const forget = () => {
    asked = "";
    clearTimeout(waiting);
  };
  /** `tell` gets words while it is counted, or why it cannot be; `show` the answer. `place` tells the same conditions apart that stand in two places. */
  const ask = (where, tell, show, place = "") => {
    const mine = JSON.stringify([place, where]);
    if (mine === asked) return;
    forget();
    asked = mine;
    tell(words("loading"));
    waiting = setTimeout(async () => {
      try {
        const found = await api("POST", "/segments/preview", { where });
        if (asked === mine) show(found);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        if (asked === mine) tell(failed(error));
      }
    }, MOMENT_MS);
  };
  return { ask, forget };
}
