// Runs beside each other: their trajectories in one chart, and figures that a slider wipes from one run to the next.
// Without scripts the page holds a still figure of the trajectories, and the figures stand beside each other.
"use strict";
(() => {
  const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [1, 6], [14, 3]]; // one a run
  const element = (id) => document.getElementById(id);
  const fill = (select, words) => select.replaceChildren(...words.map((word) => new Option(word)));

  // Left of the slider's handle stands the first run, right of it another.
  function wipe(box) {
    const [first, ...others] = box.querySelectorAll("figure");
    const name = (figure) => figure.querySelector("figcaption").textContent;
    const make = (tag, values) => Object.assign(document.createElement(tag), values);
    const slider = make("input", { type: "range", className: "wipe", min: 0, max: 100, value: 50 });
    slider.setAttribute("aria-label", `${box.dataset.name}: how much of ${name(first)} is shown`);
    const other = make("select", { hidden: others.length === 1 });
    other.setAttribute("aria-label", `${box.dataset.name}: the run on the right`);
    fill(other, others.map(name));
    const ends = make("p", { className: "ends" });
    ends.append(make("span", { textContent: name(first) }), others.length > 1 ? other : make("span", { textContent: name(others[0]) }));
    const show = () => {
      first.style.clipPath = `inset(0 ${100 - slider.value}% 0 0)`;
      others.forEach((figure, place) => {
        figure.hidden = place !== other.selectedIndex;
        figure.style.clipPath = `inset(0 0 0 ${slider.value}%)`;
      });
    };
    slider.addEventListener("input", show);
    other.addEventListener("change", show);
    box.classList.add("wiped");
    box.append(slider, ends);
    show();
  }
  document.querySelectorAll(".beside").forEach(wipe);

  const held = element("overlays");
  if (!held || typeof uPlot === "undefined") return;
  const { names, colours, overlays } = JSON.parse(held.textContent);
  const [trajectory, quantity, logarithmic, box] = ["trajectory", "quantity", "logarithmic", "plot"].map(element);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  let chart;

  function draw() {
    const { name, differs, lines } = overlays[trajectory.selectedIndex];
    const shown = lines[quantity.value];
    const groups = [...new Set(shown.map(([, group]) => group))];
    const log = logarithmic.checked;
    const data = uPlot.join(shown.map(([, , steps, values]) => [steps, log ? values.map((y) => (y > 0 ? y : null)) : values]));
    const axis = { stroke: colour("quiet"), grid: { stroke: colour("line"), width: 1 }, font: "12px system-ui, sans-serif" };
    chart?.destroy();
    chart = new uPlot({
      width: Math.max(box.clientWidth - 24, 280), height: 380,
      scales: { x: { time: false }, y: { distr: log ? 3 : 1 } },
      axes: [axis, { ...axis, size: 70 }],
      series: [{ label: "step" }, ...shown.map(([run, group]) => ({
        label: [names[run], group].filter(Boolean).join(", "),
        stroke: colours.tasks[group] ?? colours.others[groups.indexOf(group) % colours.others.length],
        dash: DASHES[run % DASHES.length], width: 1.8, spanGaps: true, points: { show: false },
        value: (_, y) => (y == null ? "–" : y.toPrecision(4)),
      }))],
    }, data, box);
    box.setAttribute("aria-label", `${quantity.value} of ${name} over the steps: ${names.join(", ")}`);
    element("differs").textContent = differs && `Trainings that were paired differ in: ${differs}.`;
  }

  function choose() {
    const before = quantity.value;
    const offered = overlays[trajectory.selectedIndex].quantities;
    fill(quantity, offered);
    quantity.value = offered.includes(before) ? before : offered[0];
    draw();
  }

  fill(trajectory, overlays.map((overlay) => overlay.name));
  element("laid").hidden = false;
  element("laid-still").hidden = true;
  trajectory.addEventListener("change", choose);
  quantity.addEventListener("change", draw);
  logarithmic.addEventListener("change", draw);
  addEventListener("resize", draw);
  choose();
  window.comparison = { plotted: () => chart.data }; // what the chart holds, for tests and for the curious
})();
