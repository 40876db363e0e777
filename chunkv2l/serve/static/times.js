/** Write times and shares as the command line does. */

/** Return a time as 0:42, 1:02:03, or with decimals 0:42.5. */
export function clock(seconds, decimals = 0) {
  const factor = 10 ** decimals;
  const units = Math.round(Math.max(0, seconds) * factor);
  const whole = Math.floor(units / factor);
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  const two = (number) => String(number).padStart(2, "0");
  const text = hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
  return decimals ? `${text}.${String(units % factor).padStart(decimals, "0")}` : text;
}

/** Return the decimals with which both ends of an interval can be told apart. */
export function precision(length) {
  const decimals = [10, 0.2, 0.02].findIndex((limit) => length >= limit);
  return decimals < 0 ? 3 : decimals;
}

/** Return "0:35.0 – 0:41.4". */
export function interval({ start, end }) {
  const decimals = precision(end - start);
  return `${clock(start, decimals)} – ${clock(end, decimals)}`;
}

/** Return the same in words, for those who listen: "from 0:35.0 to 0:41.4". */
export function spoken({ start, end }) {
  const decimals = precision(end - start);
  return `from ${clock(start, decimals)} to ${clock(end, decimals)}`;
}

/** Return "44 %". */
export function percent(share) {
  return `${Math.round(100 * share)} %`;
}

/** Return a number with its noun: "1 segment", "16 segments". */
export function plural(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
