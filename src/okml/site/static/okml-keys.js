/* What scrolls can be reached by keys. The theme sees to it as well, but asks for the width of one box
   and marks it before it asks for the next, and each time the page is styled anew; where all marks are
   right already, nothing is. */
{
  const boxes = [...document.querySelectorAll("pre, .cell_output > .output, .pst-scrollable-table-container")];
  const scrolls = boxes.map((box) => box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight);
  boxes.forEach((box, place) => {
    box.tabIndex = scrolls[place] ? 0 : -1;
  });
}
