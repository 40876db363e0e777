/** Make elements. Texts are always set as text: nothing here reads HTML. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Return a new element.
 * @param {string} name tag, with classes: "p.error.wide"
 * @param {object} values attributes; functions become listeners ({click: …}); null and false leave one out
 * @param {...(Node|string|number|null)} children
 */
export function make(name, values = {}, ...children) {
  return fill(document, name, values, children, (tag) => document.createElement(tag));
}

/** Return a new element of SVG. */
export function draw(name, values = {}, ...children) {
  return fill(document, name, values, children, (tag) => document.createElementNS(SVG, tag));
}

function fill(_, name, values, children, create) {
  const [tag, ...classes] = name.split(".");
  const element = create(tag);
  element.classList.add(...classes);
  for (const [key, value] of Object.entries(values)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value !== null && value !== false && value !== undefined) {
      element.setAttribute(key, value === true ? "" : String(value));
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined).map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

/** Return the element with an id; all of them are in the page's template. */
export function byId(id) {
  return document.getElementById(id);
}

/** Return a line drawing of 24 × 24. */
export function icon(path) {
  return draw("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, draw("path", { d: path }));
}
