/* Loads the parts of MathJax one by one and sets formulas a few at a time, those in sight first: in
   one piece both would keep a page from answering. It runs before MathJax does, whose promise of a
   set page then waits for all formulas. */
{
  const TASK = 20; // ms, well below the 50 that a reader notices
  const PACKAGES = ["ams", "newcommand", "autoload"]; // the last loads any other that a formula needs

  const inSight = (formula) => {
    const box = formula.getBoundingClientRect();
    return box.bottom > 0 && box.top < window.innerHeight;
  };

  /* A formula that is wider than its page scrolls, and is to be reached by keys. */
  const widths = new ResizeObserver((changed) => {
    for (const { target } of changed) target.tabIndex = target.scrollWidth > target.clientWidth ? 0 : -1;
  });

  const set = async (formulas) => {
    await MathJax.typesetPromise(formulas);
    for (const formula of formulas) {
      formula.querySelectorAll("mjx-container[display]").forEach((box) => widths.observe(box));
    }
  };

  const setAll = async () => {
    const formulas = [...document.querySelectorAll(".math")];
    const first = new Set(formulas.filter(inSight));
    const waiting = [...first, ...formulas.filter((formula) => !first.has(formula))];
    await set(waiting.splice(0, first.size)); // the page in sight moves once
    while (waiting.length) {
      await new Promise((resolve) => setTimeout(resolve));
      const end = performance.now() + TASK;
      while (waiting.length && performance.now() < end) await set([waiting.shift()]);
    }
  };

  window.MathJax = {
    ...window.MathJax,
    loader: {
      load: ["core", "input/tex-base", ...PACKAGES.map((name) => `[tex]/${name}`), "output/chtml", "a11y/assistive-mml"],
    },
    tex: { packages: { "[+]": PACKAGES } },
    startup: { pageReady: setAll },
  };
}
