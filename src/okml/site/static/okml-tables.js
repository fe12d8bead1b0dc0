/* Filters and sorting for tables with data-filters. Without this script the tables stay whole. */
(() => {
  "use strict";
  const WORDS = {
    en: { search: "Search the rows", all: "all", shown: (n, all) => `${n} of ${all} rows`, reset: "Show all", plain: (text) => text.replace(/,/g, "") },
    ru: { search: "Искать в строках", all: "все", shown: (n, all) => `${n} из ${all} строк`, reset: "Показать все", plain: (text) => text.replace(/\u00a0/g, "").replace(",", ".") },
  };

  const facet = (cell) => cell.querySelector("[data-facet]")?.dataset.facet ?? cell.textContent.trim();

  function number(text, words) {
    const found = words.plain(text).replace(/[−–]/g, "-").match(/^\s*-?\d+(\.\d+)?(?!\d*-)/);
    return found ? Number(found[0]) : null;
  }

  let controls = 0;

  function control(label, field) {
    const box = document.createElement("span");
    const name = document.createElement("label");
    field.id = `okml-filter-${(controls += 1)}`;
    name.htmlFor = field.id;
    name.append(label);
    box.append(name, field);
    return box;
  }

  function select(header, column, rows, words) {
    const field = document.createElement("select");
    const values = [...new Set(rows.map((row) => facet(row.cells[column])))].filter((v) => v && v !== "—").sort();
    field.append(new Option(words.all, ""), ...values.map((value) => new Option(value, value)));
    return { field, box: control(header.dataset.choice, field), keeps: (row) => !field.value || facet(row.cells[column]) === field.value };
  }

  function search(rows, words) {
    const field = document.createElement("input");
    field.type = "search";
    const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    return { field, box: control(words.search, field), keeps: (row) => texts.get(row).includes(field.value.trim().toLowerCase()) };
  }

  function makeSortable(header, column, body, words) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "okml-sort";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const descending = header.getAttribute("aria-sort") === "ascending";
      for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const key = (row) => facet(row.cells[column]);
      const compare = (a, b) => {
        const [x, y] = [number(key(a), words), number(key(b), words)];
        if (x !== null && y !== null) return x - y;
        if (x !== null || y !== null) return x === null ? 1 : -1;
        return key(a).localeCompare(key(b));
      };
      body.append(...[...body.rows].sort((a, b) => (descending ? compare(b, a) : compare(a, b))));
    });
  }

  function enhance(table) {
    const words = WORDS[table.dataset.filters] ?? WORDS.en;
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const headers = [...table.tHead.rows[0].cells];
    const filters = [search(rows, words)];
    headers.forEach((header, column) => {
      if ("choice" in header.dataset) filters.push(select(header, column, rows, words));
    });
    headers.forEach((header, column) => {
      if ("sort" in header.dataset) makeSortable(header, column, body, words);
    });

    const status = document.createElement("output");
    const apply = () => {
      for (const row of rows) row.hidden = !filters.every((filter) => filter.keeps(row));
      status.textContent = words.shown(rows.filter((row) => !row.hidden).length, rows.length);
    };
    const reset = document.createElement("button");
    reset.type = "button";
    reset.textContent = words.reset;
    const clear = () => {
      for (const filter of filters) filter.field.value = "";
      apply();
    };
    reset.addEventListener("click", clear);
    for (const filter of filters) filter.field.addEventListener("input", apply);

    const bar = table.parentElement.previousElementSibling;
    bar.setAttribute("role", "search");
    bar.setAttribute("aria-label", table.caption.textContent);
    bar.append(...filters.map((filter) => filter.box), reset, status);
    apply();

    // A link to a row that a filter hides must still lead to it.
    window.addEventListener("hashchange", () => {
      const row = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
      if (row?.hidden && table.contains(row)) {
        clear();
        row.scrollIntoView();
      }
    });
  }

  document.querySelectorAll("table[data-filters]").forEach(enhance);
})();
