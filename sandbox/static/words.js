// What the phone page says, in both its languages.
import { EN } from "/sandbox/static/words.en.js";
import { ZH } from "/sandbox/static/words.zh.js";

export const WORDS = { "zh-CN": ZH, en: EN };

/** A name of the engine in plain words: the listed ones, else spelt out. */
export function plain(table, name) {
  if (!name) return "";
  if (table[name]) return table[name];
  const spelt = name.replaceAll("_", " ");
  return spelt[0].toUpperCase() + spelt.slice(1);
}
