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
  const marked = new Set([...boxes, ...document.querySelectorAll(".okml-scroll")]);
  const mark = (some) => {
    const more = some.map((box) => box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
    some.forEach((box, place) => box.toggleAttribute("data-more", more[place]));
  };
  const sizes = new ResizeObserver((changed) => mark(changed.map(({ target }) => target)));
  for (const box of marked) sizes.observe(box);
  document.addEventListener("scroll", ({ target }) => marked.has(target) && mark([target]), { capture: true, passive: true });
}
