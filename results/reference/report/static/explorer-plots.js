// The explorer's two charts, drawn by uPlot: weight and sigma of the three policies, the stretch shaded.
"use strict";
const explorerPlots = (() => {
  const DASHES = { unmasked: [], masked: [8, 4], frozen: [2, 3] }; // as in the study's figures
  const WIDTHS = { unmasked: 2.2, masked: 2.2, frozen: 2.6 };
  const DECADES = 12; // shown at most: a task thrown further than that leaves the chart
  const LINEAR_BELOW = 4; // ratio of the largest to the smallest value up to which a linear axis tells more
  const BARCODE = 6; // height of the strip of presences
  const { tell, raised } = explorerWords;

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const drawable = (y) => (y > 0 && Number.isFinite(y) ? y : null);

  // Steps since the stretch began, and one row of numbers per line: what is plotted, exactly.
  function series(run, quantity) {
    const first = run.start - Math.min(run.start, Math.max(60, Math.round(0.18 * (run.setting.absent + run.setting.after))));
    const last = run.back + run.setting.after;
    const of = quantity === "sigma" ? dynamics.sigma : (weight) => weight;
    const x = [];
    const rows = { unmasked: [], masked: [], frozen: [], foretold: [] };
    for (let t = first; t <= last; t++) {
      x.push(t - run.start);
      for (const policy of Object.keys(run.paths)) rows[policy].push(drawable(of(run.paths[policy].weight[t])));
      const inside = t >= run.start && t <= run.back;
      rows.foretold.push(inside ? drawable(of(run.foretold.weight[t - run.start])) : null);
    }
    return { x, rows };
  }

  // Lowest and highest value, with room above and below; whether the axis is logarithmic.
  function extent(rows) {
    let low = Infinity;
    let high = 0;
    for (const row of Object.values(rows)) for (const y of row) if (y !== null) [low, high] = [Math.min(low, y), Math.max(high, y)];
    if (!(low <= high)) return { low: 0.1, high: 10, log: true };
    if (high / low < LINEAR_BELOW) {
      const room = Math.max(0.08 * (high - low), 0.01 * high);
      return { low: Math.max(low - 1.6 * room, 0), high: high + room, log: false };
    }
    const middle = rows.masked.find((y) => y !== null) ?? low; // what leaves the chart is what is far from here
    high = Math.min(high, middle * 10 ** DECADES);
    low = Math.max(low, Math.min(middle, high) * 10 ** -DECADES);
    const room = (high / low) ** 0.06;
    return { low: low / room ** 1.6, high: high * room, log: true };
  }

  // Ticks of a logarithmic axis: powers of ten, thinned where there are many, with 2 and 5 between where there are few.
  function ticks(low, high) {
    const decades = Math.log10(high / low);
    const every = Math.max(1, Math.ceil(decades / 6));
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
      if (power % every) continue;
      for (const digit of decades < 2.2 ? [1, 2, 5] : [1]) found.push(digit * 10 ** power);
    }
    return found.filter((y) => y >= low && y <= high);
  }

  function label(y) {
    const power = Math.log10(y);
    return Math.abs(power) >= 4 && Math.abs(power - Math.round(power)) < 1e-9 ? `10${raised(Math.round(power))}` : tell(y);
  }

  // The stretch in yellow; along the foot a bar for each stretch of steps in which the task is present.
  function backdrop(plot, run, named) {
    const { ctx, bbox } = plot;
    const at = (step) => Math.min(Math.max(plot.valToPos(step, "x", true), bbox.left), bbox.left + bbox.width);
    ctx.save();
    ctx.fillStyle = colour("absent");
    ctx.fillRect(at(0), bbox.top, at(run.setting.absent) - at(0), bbox.height);
    ctx.fillStyle = colour("barcode");
    const height = BARCODE * devicePixelRatio;
    const steps = plot.data[0];
    for (let from = 0, to; from < steps.length; from = to + 1) {
      for (to = from; to < steps.length && run.present[steps[to] + run.start]; to++);
      const width = at(steps[from] + to - from) - at(steps[from]);
      if (to > from) ctx.fillRect(at(steps[from]), bbox.top + bbox.height - height, Math.max(width, 1), height);
    }
    ctx.fillStyle = colour("ink");
    ctx.font = `${12 * devicePixelRatio}px ${getComputedStyle(plot.root).fontFamily}`;
    ctx.textBaseline = "top";
    const room = 6 * devicePixelRatio;
    if (named && at(run.setting.absent) - at(0) > ctx.measureText(run.setting.gap).width + 2 * room) ctx.fillText(run.setting.gap, at(0) + room, bbox.top + room);
    ctx.restore();
  }

  function options(run, quantity, size, { low, high, log }, onCursor) {
    const ink = colour("quiet");
    const grid = { stroke: colour("line"), width: 1 };
    const font = "12px system-ui, sans-serif";
    const lines = Object.keys(run.paths).map((policy) => ({
      label: policy, stroke: colour(policy), width: WIDTHS[policy], dash: DASHES[policy], points: { show: false }, pxAlign: 0,
    }));
    const axis = { stroke: ink, grid, ticks: { ...grid, size: 4 }, font };
    return {
      ...size,
      padding: [10, 20, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: "explorer" }, drag: { x: false, y: false }, y: false, points: { size: 7 } },
      scales: { x: { time: false }, y: { distr: log ? 3 : 1, range: [low, high] } },
      axes: [
        { ...axis, space: 60, size: 34, values: (_, steps) => steps.map((step) => tell(step, 6)) },
        {
          ...axis, size: 62,
          ...(log ? { splits: (_, __, from, to) => ticks(from, to), filter: (_, splits) => splits } : {}),
          values: (_, splits) => splits.map(log ? label : (y) => tell(y, 5)),
        },
      ],
      series: [{ label: "step" }, ...lines, { label: "foretold", stroke: colour("theory"), width: 1.6, dash: [2, 3], points: { show: false }, pxAlign: 0 }],
      hooks: { drawClear: [(plot) => backdrop(plot, run, quantity === "weight")], setCursor: [(plot) => plot.status && onCursor(plot.cursor.idx)] },
    };
  }

  // Draw `run` into the two boxes; returns what is plotted.
  const drawn = new Map();

  function draw(run, boxes, onCursor) {
    const shown = {};
    for (const [quantity, box] of Object.entries(boxes)) {
      const { x, rows } = series(run, quantity);
      const size = { width: box.clientWidth, height: box.clientHeight };
      drawn.get(box)?.destroy();
      const data = [x, rows.unmasked, rows.masked, rows.frozen, rows.foretold];
      drawn.set(box, new uPlot(options(run, quantity, size, extent(rows), onCursor), data, box));
      shown[quantity] = data;
    }
    return shown;
  }

  // The numbers that the charts hold at this moment.
  const plotted = (boxes) => Object.fromEntries(Object.entries(boxes).map(([quantity, box]) => [quantity, drawn.get(box).data]));

  return { draw, plotted };
})();
