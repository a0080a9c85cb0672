// Lists by keyboard: j and k go down and up, Enter opens. Never while somebody types.

const rows = () => [...document.querySelectorAll(".list a.row, .list tbody td.name a")];

addEventListener("keydown", (event) => {
  if (!["j", "k"].includes(event.key) || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog")) return;
  const all = rows();
  const here = all.indexOf(document.activeElement);
  const next = all[here < 0 ? (event.key === "j" ? 0 : all.length - 1) : here + (event.key === "j" ? 1 : -1)];
  next?.focus();
});
