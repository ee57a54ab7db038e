// What the numbers mean: lungcls.gate.screening, lungcls.quality, lungcls.finder and lungcls.prediction in brief.
// Every limit comes from page.json, which the library writes.

const reason = (name, value, threshold, message, corrected = false) =>
  ({ name, value, threshold, message, corrected });

const share = (value, digits = 0) => `${(100 * value).toFixed(digits)}%`;

const likeliest = (names, values) => names.reduce((best, name) => (values[name] > values[best] ? name : best));

function softmax(logits) {
  const highest = Math.max(...logits);
  const powers = logits.map((value) => Math.exp(value - highest));
  const sum = powers.reduce((total, value) => total + value, 0);
  return powers.map((value) => value / sum);
}

// One look of the gate: its logits, and last the distance.
export function screen(values, rules) {
  const { kinds, foreign, thresholds, messages } = rules.gate;
  const likely = softmax(Array.from(values).slice(0, kinds.length));
  const of = Object.fromEntries(kinds.map((kind, place) => [kind, likely[place]]));
  const distance = values[kinds.length];
  const chest = 1 - foreign.reduce((sum, kind) => sum + of[kind], 0);
  const frontal = of.frontal / Math.max(chest, 1e-12);
  const found = { of, chest, frontal, distance, certainty: Math.max(...likely), accepted: true, reasons: [] };
  const least = thresholds[of.frontal >= 0.5 ? "chest" : "film"];
  if (chest < least) {
    const kind = likeliest(kinds, of);
    const name = ["ct_slice", "lateral"].includes(kind) ? kind : "not_chest_xray";
    return { ...found, accepted: false, reasons: [reason(name, chest, least, messages[name])] };
  }
  if (frontal < thresholds.frontal) {
    const kind = likeliest(kinds.slice(1).filter((each) => !foreign.includes(each)), of);
    found.reasons.push(reason(kind, frontal, thresholds.frontal, messages[kind]));
  } else if (distance > thresholds.distance) {
    const message = "the film is unlike those of the training data";
    found.reasons.push(reason("out_of_distribution", distance, thresholds.distance, message));
  }
  return found;
}

const inverted = (found) => found.reasons.some((each) => each.name === "inverted");

export const wantsInverse = (found) => found.accepted && inverted(found);

// The gate's answer where a film looked inverted, and its inverse was looked at too.
export function judgedInverse(first, second, rules) {
  const certain = first.of.inverted > rules.gate.thresholds.inverted;
  if (!certain || !second.accepted || inverted(second)) return first;
  const message = "inverted grey levels were corrected";
  const why = reason("inverted", first.frontal, rules.gate.thresholds.frontal, message, true);
  return { ...second, reasons: [why, ...second.reasons], corrected: true };
}

export function maskQuality(found, rules) {
  const limits = rules.mask;
  const { area } = found;
  if (area < limits.MIN_AREA || found.pixels === 0) {
    const message = `the lung mask covers ${share(area, 1)} of the image`;
    return { lungs: 0, balance: 0, reasons: [reason("no_lungs", area, limits.MIN_AREA, message)] };
  }
  let { balance } = found;
  if (balance < limits.MIN_BALANCE) {
    if (found.width_for_height < limits.MIN_MERGED_WIDTH) {
      const message = `only one lung was found: the second part has ${share(balance, 1)} of its area`;
      return { lungs: 1, balance, reasons: [reason("one_lung", balance, limits.MIN_BALANCE, message)] };
    }
    balance = 1;
  }
  const tilt = found.tilt.toFixed(0);
  const most = [
    ["mask_too_large", area, limits.MAX_AREA, `the lung mask covers ${share(area)} of the image`],
    ["cut_off", found.border, limits.MAX_BORDER, "the lungs reach beyond the border of the image"],
    ["tilted", found.tilt, limits.MAX_TILT, `one lung lies ${tilt} degrees above the other`],
  ];
  const least = [
    ["ragged_mask", found.compactness, limits.MIN_COMPACTNESS, "the lung mask is ragged"],
    ["asymmetric", found.symmetry, limits.MIN_SYMMETRY, "the two lungs are unlike each other"],
    ["unsure_mask", found.agreement, limits.MIN_AGREEMENT, "the outline of the lungs is not clear"],
  ];
  const reasons = [
    ...most.filter(([, value, limit]) => value > limit),
    ...least.filter(([, value, limit]) => value < limit),
  ].map((each) => reason(...each));
  return { lungs: 2, balance, reasons };
}

export function filmReasons(film, rules) {
  const side = Math.min(film.height, film.width);
  const least = rules.MIN_SIDE;
  if (side >= least) return film.notes;
  const message = `the film has ${side} pixels on its shorter side, too few to tell; give one of ${least} or more`;
  return [reason("too_small", side, least, message), ...film.notes];
}

// All that is wrong with a film: first its own, then the gate's, then the mask's reasons.
export function assess(film, screening, mask, rules) {
  const own = filmReasons(film, rules);
  let reasons = [...own, ...screening.reasons];
  let accepted = screening.accepted && !own.some((each) => rules.withholding.includes(each.name));
  if (screening.accepted && mask.reasons.length && screening.certainty < rules.gate.sure) {
    const message = "this does not look like a frontal chest X-ray, and its lungs are not those of one";
    reasons = [reason("not_chest_xray", screening.certainty, rules.gate.sure, message), ...reasons];
    accepted = false;
  }
  const named = new Set(reasons.map((each) => each.name));
  reasons.push(...mask.reasons.filter((each) => !named.has(each.name)));
  return { accepted, ok: reasons.every((each) => each.corrected), lungs: mask.lungs, balance: mask.balance, reasons };
}

// Most probable first, and without gaps; empty where the label is withheld or there are no scores.
function conformalSet(label, likely, fits, coverage) {
  if (label === null || !fits) return [];
  const order = Object.keys(likely).sort((one, other) => likely[other] - likely[one]);
  const last = order.reduce((far, name, place) => (fits[name] > 1 - coverage + 1e-9 ? place : far), 0);
  return order.slice(0, last + 1);
}

export function prediction(classifier, fallback, quality, probabilities, fits, rules) {
  const named = (values) => values && Object.fromEntries(classifier.classes.map((name, place) => [name, values[place]]));
  const likely = named(probabilities);
  const label = quality.accepted ? likeliest(classifier.classes, likely) : null;
  const confidence = label === null ? null : likely[label];
  let tier = "low";
  if (confidence !== null && !fallback && quality.ok) {
    tier = confidence >= rules.HIGH ? "high" : confidence >= rules.MODERATE ? "moderate" : "low";
  }
  return {
    label,
    confidence,
    tier,
    probabilities: likely,
    conformal_set: conformalSet(label, likely, named(fits), rules.coverage),
    coverage: fits ? rules.coverage : null,
    p_values: named(fits) ?? null,
    region: fallback ? "full" : classifier.region,
    fallback,
    classifier: classifier.name,
    quality,
  };
}
