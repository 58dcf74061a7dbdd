// Formulas stand between $ or $$. Code, data tables and figures' own text are left alone; nothing is loaded from elsewhere.
window.MathJax = {
  tex: {
    inlineMath: [["$", "$"], ["\\(", "\\)"]],
    displayMath: [["$$", "$$"], ["\\[", "\\]"]],
    processEscapes: true,
    packages: { "[-]": ["html", "require"] },
  },
  svg: { fontCache: "local" },
  options: {
    enableMenu: false,
    ignoreHtmlClass: "dataframe",
    processHtmlClass: "formula", // what the package itself wrote; see aura_study/formulas.py
    renderActions: { addMenu: [] },
  },
  startup: {
    pageReady: () =>
      window.MathJax.startup.defaultPageReady().then(() => {
        for (const formula of document.querySelectorAll("mjx-container")) fit(formula);
        document.documentElement.dataset.math = "ready";
      }),
  },
};

// A formula wider than its column scrolls; one inside a line keeps the punctuation that follows it.
function fit(formula) {
  const column = formula.parentElement.closest("p, li, td, dd, figcaption, div");
  if (column && formula.firstElementChild.getBoundingClientRect().width > column.clientWidth) {
    formula.classList.add("wide");
    formula.tabIndex = 0; // so that the keyboard can scroll it
    return;
  }
  const next = formula.nextSibling;
  const mark = next && next.nodeType === Node.TEXT_NODE && /^[.,;:!?)’”]+/.exec(next.data);
  if (!mark || formula.hasAttribute("display")) return;
  const together = document.createElement("span");
  together.className = "together";
  formula.before(together);
  next.data = next.data.slice(mark[0].length);
  together.append(formula, mark[0]);
}
