/* Latin words are on pages in both languages: those in the reader's own come first. A reader of Russian types
  Russian letters or comes from a Russian page. The numbers are Sphinx's own. */
const inRussian = /[а-яё]/i.test(new URLSearchParams(location.search).get("q") ?? "") || document.referrer.includes("/book/ru/");
/* The glossary is in both languages. */
const isOwn = (page) => (inRussian ? /^book\/(ru\/|glossary)/.test(page) : !page.startsWith("book/ru/"));

var Scorer = {
  score: ([page, , , , score]) => (isOwn(page) ? score : score - 100),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
