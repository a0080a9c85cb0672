// Small helpers to build and keep up the page's nodes.
const drawnAs = new WeakMap();

export const $ = (id) => document.getElementById(id);

export function el(tag, props = {}, ...children) {
  const { role, label, ...rest } = props;
  const node = Object.assign(document.createElement(tag), rest);
  if (role) node.setAttribute("role", role);
  if (label) node.setAttribute("aria-label", label);
  node.append(...children);
  return node;
}

export const button = (label, onclick, className = "") => el("button", { type: "button", textContent: label, onclick, className });

/** An own drawing on a 24 × 24 grid, in the colour of the text around it; hidden from screen readers. */
export function icon(shape, className = "") {
  const node = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  node.setAttribute("viewBox", "0 0 24 24");
  node.setAttribute("class", `icon ${className}`);
  node.setAttribute("aria-hidden", "true");
  node.innerHTML = SHAPES[shape];
  return node;
}

const line = (d) => `<path d="${d}" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"/>`;
const SHAPES = {
  back: line("M15 5l-7 7 7 7"),
  more: '<g fill="currentColor"><circle cx="5" cy="12" r="1.8"/><circle cx="12" cy="12" r="1.8"/><circle cx="19" cy="12" r="1.8"/></g>',
  call: line("M6 4h3l2 5-2.5 1.5a11 11 0 0 0 5 5L15 13l5 2v3a2 2 0 0 1-2 2A15 15 0 0 1 4 6a2 2 0 0 1 2-2z"),
  video: line("M4 7h10a1 1 0 0 1 1 1v8a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V8a1 1 0 0 1 1-1zM15 11l6-3v8l-6-3"),
  voice: line("M9 9a4 4 0 0 1 0 6M12.5 6.5a8 8 0 0 1 0 11M5.5 11.5a1 1 0 0 1 0 1"),
  smile: line("M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM8.500 14.500a4.500 4.500 0 0 0 7 0M9 9.500v.5M15 9.500v.5"),
  plus: line("M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 8v8M8 12h8"),
  keys: line("M4 7h16v10H4zM7.500 10h.1M11 10h.1M14.500 10h.1M9 14h6"),
  send: '<path d="M3 20.500l18.500-8.500L3 3.500v6.600l11 1.900-11 1.900z" fill="currentColor"/>',
  up: line("M12 19V5M6 11l6-6 6 6"),
  person: '<path d="M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4 21a8 8 0 0 1 16 0z" fill="currentColor"/>',
  signal: '<g fill="currentColor"><rect x="1" y="14" width="4" height="6" rx="1"/><rect x="7" y="10" width="4" height="10" rx="1"/><rect x="13" y="6" width="4" height="14" rx="1"/><rect x="19" y="3" width="4" height="17" rx="1"/></g>',
  battery: '<rect x="1" y="7" width="19" height="10" rx="3" fill="none" stroke="currentColor" stroke-width="1.500"/><rect x="3" y="9" width="12" height="6" rx="1.500" fill="currentColor"/><rect x="21.500" y="10" width="1.500" height="4" rx=".7" fill="currentColor"/>',
};

/** Makes the children of `parent` these, in order: {key, sig, make}. A child whose `sig` is unchanged stays as it is. */
export function sync(parent, wanted) {
  const old = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  const first = old.size === 0;
  let at = parent.firstElementChild;
  for (const { key, sig, make } of wanted) {
    let node = old.get(key);
    old.delete(key);
    if (!node || drawnAs.get(node) !== sig) {
      const fresh = make();
      fresh.dataset.key = key;
      drawnAs.set(fresh, sig);
      if (node) {
        if (node === at) at = fresh;
        node.replaceWith(fresh);
      } else if (!first) fresh.classList.add("fresh");
      node = fresh;
    }
    if (node === at) at = at.nextElementSibling;
    else parent.insertBefore(node, at);
  }
  old.forEach((node) => node.remove());
}
