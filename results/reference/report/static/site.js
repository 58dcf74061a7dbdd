// One button on a notebook's page opens and closes all code. Without scripts every cell still folds on its own.
const button = document.getElementById("fold");
const cells = document.querySelectorAll("details.code");
if (button && cells.length) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-pressed") !== "true";
    for (const cell of cells) cell.open = open;
    button.setAttribute("aria-pressed", String(open));
    button.textContent = open ? "Hide all code" : "Show all code";
  });
}
