// What a run of the explorer says, in plain words that follow its numbers. Text in, text out: no DOM.
"use strict";
const explorerWords = (() => {
  const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  const raised = (n) => (n < 0 ? "⁻" : "") + [...String(Math.abs(n))].map((digit) => SUPERSCRIPTS[digit]).join("");

  // A number for people: three digits, powers of ten written out, a true minus.
  function tell(x, digits = 3) {
    if (Number.isNaN(x)) return "NaN";
    if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
    if (x === 0) return "0";
    const size = Math.abs(x);
    if (size >= 1e5 || size < 1e-4) {
      const [mantissa, power] = x.toExponential(digits - 1).split("e");
      return `${mantissa.replace("-", "−")} × 10${raised(Number(power))}`;
    }
    const text = Number(x.toPrecision(digits)).toString();
    return (size >= 1e4 ? text.replace(/(\d)(?=(\d{3})+$)/g, "$1\u202f") : text).replace("-", "−");
  }

  const STRETCHES = { absent: "absence", solved: "solved stretch" };

  const count = (n, what) => `${n >= 1e4 ? tell(n, 6) : n} ${what}${n === 1 ? "" : "s"}`;
  const share = (p) => (p >= 1 ? "every step" : `${tell(100 * p)} % of the steps`);

  // "has grown 403-fold", "has grown by 4.2 %", "has not moved at all".
  function growth(factor) {
    if (factor === 1) return "has not moved at all";
    if (factor >= 1.95) return `has grown ${tell(factor)}-fold`;
    if (factor <= 1 / 1.95) return `has fallen to ${factor < 0.01 ? tell(factor) : `${tell(100 * factor)} %`} of what it was`;
    const percent = tell(100 * Math.abs(factor - 1), 2);
    return `has ${factor > 1 ? "grown" : "fallen"} by ${percent} %`;
  }

  // Growth of the weight over the absence where it has a closed form, from an unmasked task's fixed point.
  const CLOSED = {
    "sigma, SGD": ["1 / (1 − 2Λ/σ²)", (phantom, square) => (2 * phantom < square ? 1 / (1 - (2 * phantom) / square) : NaN)],
    "log_sigma, SGD": ["exp(2Λ)", (phantom) => Math.exp(2 * phantom)],
    "log_sigma, Adam": ["exp(2Λ)", (phantom) => Math.exp(2 * phantom)],
    "log_variance, SGD": ["exp(Λ/2)", (phantom) => Math.exp(phantom / 2)],
    "log_variance, Adam": ["exp(Λ)", (phantom) => Math.exp(phantom)],
  };

  function closedForm({ form, gap, p, loss }, phantom, adam) {
    if (gap === "solved") return null;
    const found = CLOSED[`${form}, ${adam ? "Adam" : "SGD"}`];
    return found ? { formula: found[0], value: found[1](phantom, p * loss) } : null;
  }

  function foretold(run, adam) {
    const closed = closedForm(run.setting, run.phantom, adam);
    const full = run.foretold.growth;
    const reached = Number.isNaN(full) ? "the end of σ" : `a factor of ${tell(full)}`;
    if (run.setting.gap === "solved") return `Theory foretells ${reached}: σ follows the loss down, as fast as its learning rate lets it.`;
    if (!closed) return `Theory foretells ${reached}; this form has no closed formula, so its slope is followed step by step.`;
    const value = Number.isNaN(closed.value) ? "no finite number" : tell(closed.value);
    if (!adam) return `Theory foretells ${reached}: ${closed.formula} = ${value}${run.setting.form === "sigma" ? " for small steps" : ""}.`;
    return `From an empty memory Adam would make it ${closed.formula} = ${value}; `
      + `with what it remembers of the task’s own gradients theory foretells ${reached}.`;
  }

  function before(run) {
    const { p, loss } = run.setting;
    const [unmasked, masked] = ["unmasked", "masked"].map((policy) => run.outcomes[policy].inflation);
    const opening = `Before the ${STRETCHES[run.setting.gap]} the task is in ${share(p)}.`;
    if (Number.isNaN(unmasked)) return `${opening} Already there its term is not a number: the steps are too large for this form.`;
    if (p >= 1 && unmasked > 0.5 && unmasked < 2) return `${opening} There is nothing to mask, and all three policies give it the weight that its loss of ${tell(loss)} asks for, give or take its noise.`;
    if (p >= 1) return `${opening} There is nothing to mask: all three policies give it ${tell(unmasked)} times the weight that its loss asks for. Steps this large do not let it settle.`;
    return `${opening} Unmasked, its regulariser pulls in the others too: its weight stands at ${tell(unmasked)} times `
      + `what its loss asks for. Masked, at ${tell(masked)} times.`;
  }

  function absence(run, adam) {
    const { absent, lr, gap } = run.setting;
    const { unmasked, masked, frozen } = run.outcomes;
    const crossed = unmasked.undefinedStep;
    const solved = gap === "solved";
    const doing = solved ? "is present and solved" : "stays away";
    const told = [`Then it ${doing} for ${count(absent, "step")}: Λ = ${absent} × ${tell(lr)} = ${tell(run.phantom)}.`];
    if (solved) told.push("Its loss falls to a hundred-millionth in the first half, and is 0 in the second.");
    if (crossed >= 0 && crossed <= run.back) {
      if (crossed >= run.start) told.push(`Unmasked, σ ends after ${count(crossed - run.start, `${gap} step`)}: the total loss is NaN from there on.`);
    } else {
      told.push(`After ${count(absent, `${gap} step`)} the unmasked weight ${growth(unmasked.growth)}.`);
    }
    told.push(foretold(run, adam));
    const still = masked.growth === 1 && frozen.growth === 1;
    if (still) told.push("Masked and frozen, the weight has not moved at all.");
    else if (solved && !Number.isNaN(masked.growth)) {
      told.push(`Masked, the weight ${growth(masked.growth)}; frozen, it ${growth(frozen.growth)}: the task is there, and a mask has nothing to mask. The weight is the one that a loss of 0 asks for, or on its way to it.`);
    } else if (!Number.isNaN(masked.growth)) {
      const why = run.setting.optimizer === "AdamW" ? "Adam’s momentum coasts, and its decay pulls" : "Adam’s momentum coasts";
      told.push(`Masked, the weight ${growth(masked.growth)}: the gradient is 0, but ${why}. Frozen, it ${growth(frozen.growth)}.`);
    }
    return told.join(" ");
  }

  function comeback(run, watched, band) {
    const { unmasked } = run.outcomes;
    const crossed = unmasked.undefinedStep;
    if (crossed >= 0) return crossed > run.back ? `The task returns, and ${count(crossed - run.back, "step")} later its term is not a number.` : "There is no return to speak of.";
    const told = [];
    const first = run.present.indexOf(1, run.back);
    const { gap } = run.setting;
    const returning = first >= 0 ? run.paths.unmasked.weight[first] / run.paths.masked.weight[first] : NaN;
    if (gap === "solved" && unmasked.inflation * unmasked.growth >= 1.05) {
      told.push(`Then a hard row brings its loss back: it and its gradient count ${tell(unmasked.inflation * unmasked.growth)} times what such a loss asks for. A floor on the loss would bound that.`);
    } else if (gap === "absent" && returning >= 1.05) {
      const wait = first > run.back ? `, ${count(first - run.back, "step")} after the absence,` : "";
      told.push(`When the task is next seen${wait} its loss, and the gradient that it sends into the shared encoder, count ${tell(returning)} times as much as under the mask.`);
    }
    if (unmasked.low < 0.1) told.push(`Its own large steps then throw σ too far: at the lowest, the weight is ${tell(unmasked.low)} of what the loss asks for.`);
    const within = `within a factor of ${band} of where it was before`;
    const { near, settled } = unmasked;
    const length = (steps) => (steps > run.setting.absent ? "longer than" : "no longer than");
    if (near === null) told.push(`In the ${count(watched, "step")} that are watched the weight does not come back ${within}.`);
    else if (near === 0) told.push(`The weight is ${within} from the first step on.`);
    else told.push(`It takes ${count(near, "step")} until the weight is ${within}: ${length(near)} the ${STRETCHES[gap]} lasted.`);
    if (near !== null && settled !== near) told.push(`It strays out again: ${settled === null ? "it has not settled when the run ends" : `it settles after ${count(settled, "step")}`}.`);
    return told.join(" ");
  }

  // Paragraphs, and the line for the few big numbers.
  function describe(run, constants) {
    const { adam } = constants.optimizers[run.setting.optimizer];
    const watched = run.steps - run.back;
    const { unmasked } = run.outcomes;
    const back = unmasked.near === null ? `over ${watched}` : String(unmasked.near);
    const lost = unmasked.undefinedStep >= 0;
    return {
      paragraphs: [before(run), absence(run, adam), comeback(run, watched, constants.band)],
      phantom: tell(run.phantom),
      growth: Number.isNaN(unmasked.growth) ? "NaN" : `× ${tell(unmasked.growth)}`,
      foretold: Number.isNaN(run.foretold.growth) ? "NaN" : `× ${tell(run.foretold.growth)}`,
      inflation: Number.isNaN(unmasked.inflation) ? "NaN" : `× ${tell(unmasked.inflation)}`,
      back: lost ? "never" : back,
      regime: constants.regimes[run.regime],
      thumb: run.ruleOfThumb === null ? "" : `The rule of thumb for log σ says: ${constants.regimes[run.ruleOfThumb]}.`,
      summary: `${constants.regimes[run.regime]}; Λ = ${tell(run.phantom)}; the unmasked weight `
        + (Number.isNaN(unmasked.growth) ? "ends in NaN" : growth(unmasked.growth)),
    };
  }

  return { describe, tell, raised, STRETCHES };
})();
