// One task's uncertainty parameter, step by step: the page's own twin of aura_study.dynamics (random.py, draws.py,
// kernel.py), of theory.fixed_points and of experiments.phase_diagram.classify. No DOM, no state but a cache of draws.
"use strict";
const dynamics = (() => {
  // --- Random numbers: SplitMix64 as a hash of (seed, stream, counter), so that a draw does not depend on the setting.
  const GOLDEN = 0x9e3779b97f4a7c15n;
  const word = (z) => BigInt.asUintN(64, z);

  function mix(z) {
    z = word((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
    z = word((z ^ (z >> 27n)) * 0x94d049bb133111ebn);
    return z ^ (z >> 31n);
  }

  const streamKey = (seed, stream) => mix(mix(word(seed + GOLDEN)) ^ word(stream * GOLDEN + 1n));

  // Uniform on (0, 1].
  const uniform = (key, counter) => (Number(mix(word(key + BigInt(counter + 1) * GOLDEN)) >> 11n) + 1) * 2 ** -53;

  // Wichura's AS 241 (Applied Statistics 37, 1988): numerators and denominators, lowest coefficient first.
  const CENTRE = [
    [3.387132872796366608, 133.14166789178437745, 1971.5909503065514427, 13731.693765509461125,
      45921.953931549871457, 67265.770927008700853, 33430.575583588128105, 2509.0809287301226727],
    [1, 42.313330701600911252, 687.1870074920579083, 5394.1960214247511077,
      21213.794301586595867, 39307.89580009271061, 28729.085735721942674, 5226.495278852854561],
  ];
  const NEAR = [
    [1.42343711074968357734, 4.6303378461565452959, 5.7694972214606914055, 3.64784832476320460504,
      1.27045825245236838258, 0.24178072517745061177, 0.0227238449892691845833, 7.7454501427834140764e-4],
    [1, 2.05319162663775882187, 1.6763848301838038494, 0.68976733498510000455,
      0.14810397642748007459, 0.0151986665636164571966, 5.475938084995344946e-4, 1.05075007164441684324e-9],
  ];
  const FAR = [
    [6.6579046435011037772, 5.4637849111641143699, 1.7848265399172913358, 0.29656057182850489123,
      0.026532189526576123093, 0.0012426609473880784386, 2.71155556874348757815e-5, 2.01033439929228813265e-7],
    [1, 0.59983220655588793769, 0.13692988092273580531, 0.0148753612908506148525,
      7.868691311456132591e-4, 1.8463183175100546818e-5, 1.4215117583164458887e-7, 2.04426310338993978564e-15],
  ];
  const polynomial = (x, c) => c.reduceRight((sum, term) => sum * x + term, 0);
  const ratio = (x, [above, below]) => polynomial(x, above) / polynomial(x, below);

  // Standard normal quantile of u.
  function quantile(u) {
    const q = u - 0.5;
    if (Math.abs(q) <= 0.425) return q * ratio(0.180625 - q * q, CENTRE);
    const r = Math.sqrt(-Math.log(Math.max(Math.min(u, 1 - u), 2 ** -54)));
    const z = r <= 5 ? ratio(r - 1.6, NEAR) : ratio(r - 5, FAR);
    return u < 0.5 ? -z : z;
  }

  // Per step one draw for the presence and one for the loss, kept: they stay the same while a reader moves a setting.
  const kept = { seed: null, key: 0n, u: [], z: [] };

  function draws(seed, steps) {
    if (kept.seed !== seed) Object.assign(kept, { seed, key: streamKey(BigInt(seed), 0n), u: [], z: [] });
    for (let t = kept.u.length; t < steps; t++) {
      kept.u.push(uniform(kept.key, 2 * t));
      kept.z.push(quantile(uniform(kept.key, 2 * t + 1)));
    }
    return kept;
  }

  // What is left of a solved task's loss: a hundred-millionth by the middle of the stretch, and 0 from there on.
  const left = (step, steps) => (2 * step < steps ? 1e-8 ** ((2 * (step + 1)) / steps) : 0);

  // What a task with the given setting meets in each step: 0 where it is absent, else its loss.
  function losses(setting, steps, warmUp) {
    const { u, z } = draws(setting.seed, steps);
    const none = 1 - setting.p;
    const spread = Math.log1p(setting.noise * setting.noise);
    const width = Math.sqrt(spread);
    const met = new Float64Array(steps);
    const present = new Uint8Array(steps);
    for (let t = 0; t < steps; t++) {
      const inside = t >= warmUp && t < warmUp + setting.absent;
      if ((inside && setting.gap === "absent") || u[t] <= none) continue;
      present[t] = 1;
      met[t] = setting.loss * (inside ? left(t - warmUp, setting.absent) : 1) * Math.exp(width * z[t] - 0.5 * spread);
    }
    return { met, present };
  }

  // --- The forms: [weight, its slope, the regulariser's slope] at theta.
  const EPSILON = 1e-8; // of AURA's softplus weight

  function ofSquare(theta, pull) {
    const inverse = 1 / theta;
    const weight = 0.5 * inverse * inverse;
    return [weight, -2 * weight * inverse, pull];
  }

  const SLOPES = {
    sigma: (theta) => ofSquare(theta, 1 / theta),
    log_sigma(theta) {
      const weight = 0.5 * Math.exp(-2 * theta);
      return [weight, -2 * weight, 1];
    },
    log_variance(theta) {
      const weight = 0.5 * Math.exp(-theta);
      return [weight, -weight, 0.5];
    },
    aura_softplus(theta) {
      const small = Math.exp(-Math.abs(theta));
      const softplus = Math.max(theta, 0) + Math.log1p(small);
      const sigmoid = (theta >= 0 ? 1 : small) / (1 + small);
      const weight = 1 / (softplus + EPSILON);
      return [weight, -sigmoid * weight * weight, 0.5 * sigmoid];
    },
    log_one_plus_square: (theta) => ofSquare(theta, (2 * theta) / (1 + theta * theta)),
  };
  const weightOf = (form, theta) => SLOPES[form](theta)[0];
  const undefinedAt = (form, theta, weight) => !Number.isFinite(weight) || (form === "sigma" && theta <= 0);

  // Theta at which the mean gradient vanishes, at the loss `a`: p L for an unmasked task, L for a masked one.
  const FIXED_POINTS = {
    sigma: Math.sqrt,
    log_sigma: (a) => 0.5 * Math.log(a),
    log_variance: Math.log,
    aura_softplus(a) {
      const value = Math.sqrt(2 * a) - EPSILON;
      return value + Math.log(-Math.expm1(-value));
    },
    log_one_plus_square: (a) => Math.sqrt((a + Math.sqrt(a * a + 8 * a)) / 4),
  };

  // --- Optimisers, as torch.optim takes their steps; `memory` is Adam's, empty unless given.
  function mover(optimizer, rate, memory = { v: 0, steps: 0 }) {
    const { beta1, beta2, epsilon, weight_decay: decay, adam } = optimizer;
    if (!adam) return (theta, gradient) => theta - rate * gradient;
    let m = 0;
    let v = memory.v;
    let left1 = beta1 ** memory.steps; // what the first moment still lacks
    let left2 = beta2 ** memory.steps;
    return (theta, gradient) => {
      left1 *= beta1;
      left2 *= beta2;
      m += (1 - beta1) * (gradient - m);
      v = beta2 * v + (1 - beta2) * gradient * gradient;
      const root = Math.sqrt(1 - left2);
      const step = (((rate * root) / (1 - left1)) * m) / (Math.sqrt(v) + epsilon * root);
      return theta * (1 - rate * decay) - step;
    };
  }

  // Theta and weight of one policy before every step and after the last, NaN from the step whose term is undefined.
  // `jolt` disturbs every step by that much, up or down at random: see `sensitive`.
  function path(setting, policy, { met, present }, optimizer, jolt = 0) {
    const { form } = setting;
    const steps = met.length;
    const slopes = SLOPES[form];
    const move = mover(optimizer, setting.lr);
    const theta = new Float64Array(steps + 1).fill(NaN);
    const weight = new Float64Array(steps + 1).fill(NaN);
    let here = FIXED_POINTS[form](policy === "unmasked" ? setting.p * setting.loss : setting.loss);
    for (let t = 0; t <= steps; t++) {
      const [w, slope, pull] = slopes(here);
      if (undefinedAt(form, here, w)) return { theta, weight, undefinedStep: t < steps ? t : -1 };
      theta[t] = here;
      weight[t] = w;
      if (t === steps || (policy === "frozen" && !present[t])) continue;
      here = move(here, present[t] ? slope * met[t] + pull : policy === "unmasked" ? pull : 0);
      if (jolt) here += jolt * Math.max(1, Math.abs(here)) * (kept.u[t] > 0.5 ? 1 : -1);
    }
    return { theta, weight, undefinedStep: -1 };
  }

  // What the phase diagram asks of a run; names as there.
  function outcome(setting, { weight, undefinedStep }, start, band) {
    const back = start + setting.absent;
    const steps = weight.length - 1;
    let low = Infinity;
    let outside = -1;
    let near = null; // steps until it is first back in the band, whether it stays there or not
    for (let t = back; t < steps; t++) {
      low = Math.min(low, weight[t]);
      if (!(weight[t] >= weight[start] / band && weight[t] <= weight[start] * band)) outside = t;
      else near ??= t - back;
    }
    const settled = outside === steps - 1 ? null : Math.max(outside + 1 - back, 0);
    const aim = weightOf(setting.form, FIXED_POINTS[setting.form](setting.loss));
    return {
      inflation: weight[start] / aim,
      growth: weight[back] / weight[start],
      low: low / aim,
      near,
      settled,
      recovery: settled === null ? Infinity : settled / setting.absent,
      undefinedStep,
    };
  }

  // Index of the regime; a run is in the last one whose condition it meets.
  function classify({ inflation, growth, recovery, low, undefinedStep }) {
    if (undefinedStep >= 0) return 5;
    if (low < 0.1) return 4;
    if (growth >= 10) return recovery > 1 ? 3 : 2;
    return inflation * growth >= 2 ? 1 : 0;
  }

  // How far log sigma falls over an absence, as phase_diagram.maps.moved: Lambda, or what an old Adam's memory makes of it.
  function moved({ lr, absent, p, noise }, { adam, beta1, beta2 }) {
    if (!adam) return lr * absent;
    const square = (1 + noise * noise) / p;
    const memory = square * (1 + lr * Math.sqrt(square - 1)) - 1; // theory.fluctuations.adam_memory
    let steps = 0;
    for (let k = 1; k <= absent; k++) {
      const left = beta2 ** k;
      steps += (1 - beta1 ** k) / Math.sqrt(memory * left + 1 - left);
    }
    return lr * steps;
  }

  // The mental arithmetic for log sigma, as phase_diagram.maps.rule_of_thumb.
  function ruleOfThumb(setting, optimizer) {
    const { adam } = optimizer;
    const phantom = moved(setting, optimizer);
    if (!adam && (setting.lr * Math.exp(2 * (phantom + setting.lr / setting.p))) / setting.p > 5) return 4;
    if (phantom > Math.log(10) / 2) return adam ? 3 : 2;
    return Math.exp(2 * phantom) / setting.p >= 2 ? 1 : 0;
  }

  // The weight over an absence that begins at the unmasked fixed point, in theory: the regulariser's slope alone (and
  // the mean loss that a solved task still has), and Adam's memory holding the variance of the task's gradients, as far
  // as `warmUp` steps fill it: theory.absence and theory.driven with theory.fluctuations.
  function foretold(setting, optimizer, warmUp) {
    const { form, p, noise } = setting;
    let theta = FIXED_POINTS[form](p * setting.loss);
    const [start, , pull] = SLOPES[form](theta);
    const filled = 1 - (optimizer.beta2 ?? 0) ** warmUp;
    const v = filled * pull * pull * ((1 + noise * noise) / p - 1);
    const move = mover(optimizer, setting.lr, { v, steps: warmUp });
    const weight = [start];
    for (let t = 0; t < setting.absent; t++) {
      const [w, slope, pulled] = SLOPES[form](theta);
      const met = setting.gap === "solved" ? p * setting.loss * left(t, setting.absent) : 0;
      theta = undefinedAt(form, theta, w) ? NaN : move(theta, met ? slope * met + pulled : pulled);
      const next = weightOf(form, theta);
      weight.push(undefinedAt(form, theta, next) ? NaN : next);
    }
    return { weight, growth: weight[setting.absent] / start };
  }

  // Whether rounding shows: a run disturbed in every 13th digit parts from the undisturbed one within six.
  function sensitive(paths, setting, task, optimizer) {
    return Object.entries(paths).some(([policy, { weight, undefinedStep }]) => {
      const twin = path(setting, policy, task, optimizer, 1e-13);
      return twin.undefinedStep !== undefinedStep
        || weight.some((w, t) => w > 1e-300 && !(Math.abs(twin.weight[t] / w - 1) <= 1e-6));
    });
  }

  // Everything the page shows of a setting. `constants`: warmUp, horizon, band, policies, optimizers.
  function run(setting, constants) {
    const { warmUp, band } = constants;
    const optimizer = constants.optimizers[setting.optimizer];
    const steps = warmUp + setting.absent + Math.max(constants.horizon, setting.absent + 1, setting.after);
    const task = losses(setting, steps, warmUp);
    const paths = {};
    const outcomes = {};
    for (const policy of constants.policies) {
      paths[policy] = path(setting, policy, task, optimizer);
      outcomes[policy] = outcome(setting, paths[policy], warmUp, band);
    }
    return {
      setting,
      steps,
      start: warmUp,
      back: warmUp + setting.absent,
      present: task.present,
      paths,
      outcomes,
      phantom: setting.lr * setting.absent,
      foretold: foretold(setting, optimizer, warmUp),
      regime: classify(outcomes.unmasked),
      ruleOfThumb: setting.form === "log_sigma" && setting.gap === "absent" ? ruleOfThumb(setting, optimizer) : null,
      sensitive: sensitive(paths, setting, task, optimizer),
    };
  }

  return { run, sigma: (weight) => 1 / Math.sqrt(2 * weight) };
})();
