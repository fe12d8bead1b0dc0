{
  const boxes = [...document.querySelectorAll("pre, .cell_output > .output, .pst-scrollable-table-container")];

  /* What scrolls can be reached by keys. The theme sees to it as well, but asks for the width of one box
    and marks it before it asks for the next, and each time the page is styled anew; where all marks are
    right already, nothing is. */
  const scrolls = boxes.map((box) => box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight);
  boxes.forEach((box, place) => {
    box.tabIndex = scrolls[place] ? 0 : -1;
  });

  /* A box that scrolls says whether more of it lies to the right, and its style shows that. */
  const others = document.querySelectorAll(".okml-scroll, .okml-scales > .output, .okml-findings > li > a");
  const figures = new Set(document.querySelectorAll(".okml-figure"));
  const marked = new Set([...boxes, ...others, ...figures]);
  const mark = (some) => {
    const more = some.map((box) => box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
    const wide = some.map((box) => box.scrollWidth > box.clientWidth);
    some.forEach((box, place) => {
      box.toggleAttribute("data-more", more[place]);
      /* A figure scrolls on a phone alone, and the theme does not see to it when the page becomes one. */
      if (figures.has(box)) box.tabIndex = wide[place] ? 0 : -1;
    });
  };
  const sizes = new ResizeObserver((changed) => mark(changed.map(({ target }) => target)));
  for (const box of marked) sizes.observe(box);
  document.addEventListener("scroll", ({ target }) => marked.has(target) && mark([target]), { capture: true, passive: true });

  /* What names the rows of a table is not always its first column, which may say the same in all of them: of
    the columns in words it is the one with the most texts. It stays while the others scroll past it. */
  for (const table of document.querySelectorAll(".output > .okml-table")) {
    const rows = [...table.tBodies[0].rows];
    const texts = (place) => new Set(rows.map((row) => row.cells[place].textContent)).size;
    const words = [...(rows[0]?.cells ?? [])].filter((cell) => !cell.style.textAlign).map((cell) => cell.cellIndex);
    const name = words.reduce((best, place) => (texts(place) > texts(best) ? place : best), 0);
    if (name) for (const row of table.rows) row.cells[name].classList.add("okml-name");
  }
}
