// The explorer: one setting, held in the address, moved by the inputs, run by `dynamics` and shown in charts and words.
"use strict";
(() => {
  const constants = JSON.parse(document.getElementById("explorer-settings").textContent);
  const element = (id) => document.getElementById(id);
  const controls = Object.fromEntries(constants.controls.map((control) => [control.name, control]));
  const choices = { form: constants.forms, optimizer: Object.keys(constants.optimizers), gap: Object.keys(constants.gaps) };
  const standard = constants.presets[0].setting;
  const names = [...Object.keys(choices), ...Object.keys(controls)];
  const STOPS = 1000; // of a slider
  const boxes = { weight: element("plot-weight"), sigma: element("plot-sigma") };
  const { tell } = explorerWords;

  let setting = { ...standard };
  let complaints = new Map(); // by the name of the setting, so that a corrected value takes its own away
  let run;
  let pending = 0;

  // --- Values as text: what is valid, and one sentence on what is not.
  const plain = (x) => String(x).includes("e") ? x.toFixed(20).replace(/0+$/, "") : String(x);

  function read(name, text) {
    if (choices[name]) {
      if (choices[name].includes(text)) return { value: text };
      return { complaint: `${name} = “${text}” is not one of ${choices[name].join(", ")}` };
    }
    const { low, high, whole } = controls[name];
    const value = text.trim() === "" ? NaN : Number(text);
    if (value >= low && value <= high && (!whole || Number.isInteger(value))) return { value };
    return { complaint: `${name} = “${text}” is not a ${whole ? "whole " : ""}number from ${plain(low)} to ${plain(high)}` };
  }

  function readAddress(url) {
    const hash = new URL(url).hash.slice(1);
    if (hash && !hash.includes("=")) return; // an anchor of the page, not a setting
    setting = { ...standard };
    complaints = new Map();
    for (const [name, text] of new URLSearchParams(hash)) {
      if (!names.includes(name)) {
        complaints.set(name, `there is no setting “${name}”; there are ${names.join(", ")}`);
        continue;
      }
      const { value, complaint } = read(name, text);
      if (complaint) complaints.set(name, `${complaint}; ${standard[name]} is taken instead`);
      else setting[name] = value;
    }
  }

  const address = () => `#${new URLSearchParams(names.map((name) => [name, setting[name]]))}`;

  // --- Inputs.
  const position = ({ low, high }, value) => Math.round((STOPS * Math.log(value / low)) / Math.log(high / low));

  function valueAt({ low, high, whole }, stop) {
    const value = low * (high / low) ** (stop / STOPS);
    const rounded = Number(value.toPrecision(2));
    return Math.min(Math.max(whole ? Math.round(rounded) : rounded, low), high);
  }

  function showInputs(except) {
    element("form-hint").textContent = constants.formulas[setting.form];
    for (const name of names) {
      const input = element(name);
      if (input !== except) input.value = choices[name] ? setting[name] : plain(setting[name]);
      input.setAttribute("aria-invalid", String(complaints.has(name) && input === except));
      const slider = element(`${name}-slider`);
      if (!slider) continue;
      if (slider !== except) slider.value = position(controls[name], setting[name]);
      slider.setAttribute("aria-valuetext", plain(setting[name]));
    }
    for (const button of document.querySelectorAll("[data-preset]")) {
      const preset = constants.presets[button.dataset.preset].setting;
      button.setAttribute("aria-pressed", String(names.every((name) => preset[name] === setting[name])));
    }
  }

  function change(name, value, except) {
    complaints.delete(name);
    setting = { ...setting, [name]: value };
    update(except);
  }

  function listen() {
    for (const name of names) {
      const input = element(name);
      input.addEventListener("input", () => {
        const { value, complaint } = read(name, input.value);
        if (!complaint) return change(name, value, input);
        complaints.set(name, `${complaint}; ${setting[name]} stays`);
        showInputs(input);
        showComplaints();
      });
      input.addEventListener("change", () => {
        if (!complaints.has(name)) showInputs();
      });
      const slider = element(`${name}-slider`);
      slider?.addEventListener("input", () => change(name, valueAt(controls[name], Number(slider.value)), slider));
    }
    for (const button of document.querySelectorAll("[data-preset]")) {
      button.addEventListener("click", () => {
        complaints.clear();
        setting = { ...constants.presets[button.dataset.preset].setting };
        update();
      });
    }
    element("redraw").addEventListener("click", () => change("seed", (setting.seed + 1) % (controls.seed.high + 1)));
    element("share").addEventListener("click", share);
    window.addEventListener("hashchange", (event) => {
      readAddress(event.newURL); // the address itself may have been written over since
      update();
    });
    window.addEventListener("resize", schedule);
    for (const query of ["(prefers-color-scheme: dark)", "print"]) matchMedia(query).addEventListener("change", flush);
    window.addEventListener("beforeprint", flush);
  }

  async function share() {
    writeAddress();
    const done = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
    element("shared").textContent = done ? "Copied." : "The address of this page is the link: copy it from the browser.";
  }

  // --- Showing.
  function showComplaints() {
    const list = [...complaints.values()].map((words) => {
      const item = document.createElement("li");
      item.textContent = `${words}.`;
      return item;
    });
    element("complaints").hidden = !list.length;
    element("complaints").replaceChildren(...list);
  }

  function showWords() {
    const words = explorerWords.describe(run, constants);
    for (const name of ["phantom", "growth", "foretold", "inflation", "back", "regime"]) element(`said-${name}`).textContent = words[name];
    element("said-regime").parentElement.dataset.regime = run.regime;
    element("words").replaceChildren(...words.paragraphs.map((text) => {
      const paragraph = document.createElement("p");
      paragraph.textContent = text;
      return paragraph;
    }));
    element("thumb").textContent = words.thumb;
    element("sensitive").hidden = !run.sensitive;
    for (const [place, item] of [...element("ladder").children].entries()) {
      if (place === run.regime) item.setAttribute("aria-current", "true");
      else item.removeAttribute("aria-current");
    }
    element("spoken").textContent = words.summary;
    boxes.weight.setAttribute("aria-label", `Weight of the three policies over the steps. ${words.paragraphs.join(" ")}`);
    boxes.sigma.setAttribute("aria-label", `Sigma of the three policies over the same steps. ${words.summary}. The numbers are in the table below.`);
  }

  // Rows of the table: name and step.
  function moments() {
    const { absent, after, gap } = setting;
    const stretch = explorerWords.STRETCHES[gap];
    const rows = [[`just before the ${stretch}`, run.start]];
    for (const [name, part] of [["a quarter into it", 0.25], ["halfway", 0.5], ["three quarters", 0.75]]) {
      const step = Math.round(part * absent);
      if (step > 0 && step < absent) rows.push([name, run.start + step]);
    }
    rows.push([`the ${stretch} ends`, run.back]);
    for (const later of [1, 10, 100, 1000]) if (later < after) rows.push([later === 1 ? "1 step later" : `${later} steps later`, run.back + later]);
    rows.push(["last step shown", run.back + after]);
    return rows;
  }

  function showTable() {
    const cell = (kind, text) => Object.assign(document.createElement(kind), { textContent: text });
    element("moments").replaceChildren(...moments().map(([name, t]) => {
      const row = document.createElement("tr");
      const head = cell("th", name);
      head.scope = "row";
      row.append(head, cell("td", tell(t - run.start, 6)));
      for (const of of [(w) => w, dynamics.sigma]) {
        for (const policy of constants.policies) row.append(cell("td", tell(of(run.paths[policy].weight[t]), 4)));
      }
      return row;
    }));
  }

  function showCursor(index) {
    const data = explorerPlots.plotted(boxes);
    const at = (quantity, row) => tell(data[quantity][row][index] ?? NaN);
    const text = index === null || index === undefined ? "" : `Step ${data.weight[0][index]}: `
      + constants.policies.map((policy, row) => `${policy} weight ${at("weight", row + 1)}, σ ${at("sigma", row + 1)}`).join("; ");
    element("cursor").textContent = text || "Move over a chart to read its numbers.";
  }

  function writeAddress() {
    if (location.hash !== address()) history.replaceState(null, "", address());
  }

  // Show the present setting now.
  function flush() {
    cancelAnimationFrame(pending);
    pending = 0;
    run = dynamics.run(setting, constants);
    explorerPlots.draw(run, boxes, showCursor);
    showWords();
    showTable();
    showComplaints();
  }

  function schedule() {
    pending ||= requestAnimationFrame(flush);
  }

  let writing;
  function update(except) {
    showInputs(except);
    schedule();
    clearTimeout(writing);
    writing = setTimeout(writeAddress, 200); // browsers limit how often an address may change
  }

  // What the page shows, as data; for tests and for the curious.
  window.explorer = {
    state() {
      if (pending) flush();
      const paths = Object.fromEntries(Object.entries(run.paths).map(([policy, { theta, weight, undefinedStep }]) =>
        [policy, { theta: [...theta], weight: [...weight], sigma: [...weight].map(dynamics.sigma), undefinedStep }]));
      return { ...run, paths, present: [...run.present], regime: constants.regimes[run.regime], complaints: [...complaints.values()] };
    },
    plotted() {
      if (pending) flush();
      return explorerPlots.plotted(boxes);
    },
  };

  element("explorer").hidden = false;
  readAddress(location.href);
  listen();
  showInputs();
  flush();
  document.documentElement.dataset.explorer = "ready";
})();
