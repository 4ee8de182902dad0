"use strict";
(() => {
  const body = document.querySelector("#pairs tbody");
  const rows = [...body.rows];
  const [filter, verdict, shown, sheet] = ["filter", "filter-verdict", "shown", "sheet"]
    .map((id) => document.getElementById(id));

  const keyOf = (row, column) => {
    const { value, number } = row.cells[column].dataset;
    return number === undefined ? value.toLowerCase() : value === "" ? Infinity : Number(value);
  };
  for (const button of document.querySelectorAll("#pairs th button"))
    button.addEventListener("click", () => {
      const head = button.closest("th");
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      rows.sort((a, b) => {
        const [x, y] = [keyOf(a, head.cellIndex), keyOf(b, head.cellIndex)];
        if (x === y) return 0;
        if (x === Infinity || y === Infinity) return x === Infinity ? 1 : -1;
        return (x < y ? -1 : 1) * (down ? -1 : 1);
      });
      body.append(...rows);
    });

  function choose() {
    const words = filter.value.toLowerCase().split(/\s+/);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !(words.every((word) => text.includes(word))
        && (!verdict.value || row.dataset.verdict === verdict.value));
    }
    shown.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} shown`;
  }
  filter.addEventListener("input", choose);
  verdict.addEventListener("change", choose);
  choose();

  const spread = () => {
    for (const part of document.querySelectorAll("[data-sheet]"))
      part.hidden = part.dataset.sheet !== sheet.value;
  };
  if (sheet) { sheet.addEventListener("change", spread); spread(); }
})();
