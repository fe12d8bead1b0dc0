// A dark page is printed as a light one, and with the reasons of verdicts that a table folds.
{
  const page = document.documentElement;
  let shown;
  let unfolded = [];
  window.addEventListener("beforeprint", () => {
    shown = page.dataset.theme;
    page.dataset.theme = "light";
    unfolded = [...document.querySelectorAll("details.okml-reason:not([open])")];
    for (const reason of unfolded) reason.open = true;
  });
  window.addEventListener("afterprint", () => {
    page.dataset.theme = shown;
    for (const reason of unfolded) reason.open = false;
  });
}
