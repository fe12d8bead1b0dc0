// A dark page is printed as a light one.
{
  const page = document.documentElement;
  let shown;
  window.addEventListener("beforeprint", () => {
    shown = page.dataset.theme;
    page.dataset.theme = "light";
  });
  window.addEventListener("afterprint", () => {
    page.dataset.theme = shown;
  });
}
