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
    renderActions: { addMenu: [] },
  },
  startup: {
    pageReady: () =>
      window.MathJax.startup.defaultPageReady().then(() => {
        document.documentElement.dataset.math = "ready";
      }),
  },
};
