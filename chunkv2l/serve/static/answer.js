/** Show an answer while it is made: its moments to play, its text as it grows, and how it was found. */

import { icon, make } from "./dom.js";
import { clipAddress } from "./player.js";
import { interval, percent, spoken } from "./times.js";

const SHOWN = 5; // moments, before more are asked for
const SAVE = "M12 4v11m0 0-4-4m4 4 4-4M5 20h14";

export class AnswerView {
  /**
   * @param {HTMLElement} root
   * @param {object | null} movie as the API shows it; null where all movies are asked, and moments lead to their pages
   * @param {boolean} canClip
   * @param {(number: number) => void} play called with a moment's number
   */
  constructor(root, movie, canClip, play) {
    this.root = root;
    this.movie = movie;
    this.canClip = canClip;
    this.play = play;
    this.spans = [];
  }

  /** Begin with a question. */
  begin(question) {
    this.spans = [];
    this.question = question;
    this.said = make("p.said.growing", {}, "");
    this.absent = make("p.absent", { hidden: true });
    this.list = make("ol.moments", { "aria-label": "Moments, best first" });
    this.below = make("div");
    this.more = make("button.more", { type: "button", hidden: true, click: () => this.showAll() }, "");
    this.status = make("p.visually-hidden", { role: "status" }, "Looking …");
    this.root.replaceChildren(make("h2.asked", {}, question), this.said, this.status, this.list, this.more, this.absent, this.below);
    this.root.hidden = false;
    this.root.setAttribute("aria-busy", "true");
  }

  /** Show the moments, best first. */
  moments({ spans, not_there: notThere, within, parts }) {
    this.spans = spans;
    const isAbsent = notThere !== null && notThere > (spans[0]?.score ?? 0);
    this.absent.hidden = notThere === null;
    if (notThere !== null) {
      this.absent.replaceChildren(
        make(isAbsent ? "strong" : "span", {}, `${isAbsent ? "Probably not" : "Not"} in ${parts?.length ? "those parts" : within ? "that part" : this.movie ? "this movie" : "any of these movies"}`),
        make("span", {}, percent(notThere)),
      );
    }
    this.isAbsent = isAbsent;
    this.absent.classList.toggle("likely", isAbsent);
    if (isAbsent) this.list.before(this.absent);
    else this.more.after(this.absent);
    const most = Math.max(...spans.map((span) => span.score), notThere ?? 0, 0.01);
    this.list.setAttribute("aria-label", isAbsent ? "Likeliest moments, best first" : "Moments, best first");
    this.list.replaceChildren(...spans.map((span, number) => this.moment(span, number, most)));
    this.limit(spans.length > SHOWN + 1 ? SHOWN : spans.length);
  }

  /** Show so many moments; the others when they are asked for. */
  limit(count) {
    [...this.list.children].forEach((item, number) => (item.hidden = number >= count));
    this.more.hidden = count >= this.spans.length;
    this.more.textContent = `Show ${this.spans.length - count} more`;
  }

  /** Show the text so far. */
  text(text) {
    this.said.textContent = text;
  }

  /** Show the whole answer. */
  finish(answer) {
    const said = answer.unsure ? `Unsure: ${answer.answer}` : answer.answer;
    this.text(said);
    this.said.classList.remove("growing");
    this.status.textContent = `${said} ${this.spans.length} moments.`;
    this.root.removeAttribute("aria-busy");
    const seconds = answer.timing.total_s - answer.timing.load_s;
    this.below.replaceChildren(
      ...(answer.quotes ?? []).map((quote) => make("p.note", {}, make("span.quiet", {}, quote.movie ? `${quote.movie}, ${interval(quote)}` : interval(quote)), make("span", {}, `“${quote.text}”`))),
      ...(answer.notes ?? []).map((note) => make("p.note", {}, note)),
      make("p.quiet", {}, `Policy ${answer.policy}, ${seconds.toFixed(2)} s, ${answer.visual_tokens} visual tokens`),
      ...(answer.route ? [explain(answer)] : []),
    );
  }

  /** Show what went wrong. */
  fail(sentence) {
    this.said?.remove();
    this.status?.remove();
    this.root.removeAttribute("aria-busy");
    this.root.hidden = false;
    this.root.append(make("p.error", { role: "alert" }, sentence));
  }

  showAll() {
    const first = [...this.list.children].find((item) => item.hidden);
    this.limit(this.spans.length);
    first?.querySelector("button, a").focus();
  }

  /** Mark the moment that is shown; -1 marks none. */
  mark(number) {
    if (this.list?.children[number]?.hidden) this.limit(this.spans.length);
    [...(this.list?.children ?? [])].forEach((item, position) => {
      item.firstElementChild.setAttribute("aria-pressed", position === number);
    });
  }

  /** Return a moment of any movie: a link to that movie's page, at the moment's time, where the question is asked again. */
  link(span, number, middle, fill) {
    const address = span.id ? `/movie/${span.id}?${new URLSearchParams({ q: this.question, t: span.start.toFixed(1) })}` : null;
    return make(
      "li.moment",
      {},
      make(
        "a.chip",
        { href: address, "aria-label": `Moment ${number + 1}: ${span.movie}, ${spoken(span)}, ${percent(span.score)}` },
        span.id && middle !== undefined ? make("img", { src: `/api/movies/${span.id}/thumbnail/${middle}`, alt: "", loading: "lazy" }) : make("span", {}, ""),
        make(
          "span",
          {},
          make("span.name", {}, span.movie),
          make("span.time", {}, interval(span)),
          span.text ? make("span.quiet", {}, `“${span.text.length > 140 ? `${span.text.slice(0, 138)} …` : span.text}”`) : null,
          make("span.share", { "aria-hidden": "true" }, fill),
        ),
        make("span.percent", {}, percent(span.score)),
      ),
    );
  }

  moment(span, number, most) {
    const fill = make("i");
    fill.style.width = `${(100 * span.score) / most}%`;
    const middle = span.segments[Math.floor((span.segments.length - 1) / 2)];
    if (!this.movie) return this.link(span, number, middle, fill);
    return make(
      "li.moment",
      {},
      make(
        "button",
        {
          type: "button",
          "aria-pressed": "false",
          "aria-label": `Play moment ${number + 1}, ${spoken(span)}, ${percent(span.score)}`,
          click: () => this.play(number),
        },
        make("img", { src: `/api/movies/${this.movie.id}/thumbnail/${middle}`, alt: "", loading: "lazy" }),
        make("span", {}, make("span.time", {}, interval(span)), make("span.share", { "aria-hidden": "true" }, fill)),
        make("span.percent", {}, percent(span.score)),
      ),
      this.canClip
        ? make(
            "a.button",
            { href: clipAddress(this.movie, span), download: true, "aria-label": `Save the clip ${spoken(span)}`, title: "Save as clip" },
            icon(SAVE),
          )
        : null,
    );
  }
}

/** Return how an answer was found, to be opened: what was looked for, candidates, weights, time by step. */
function explain({ route, policy }) {
  const weights = new Map(route.weights.map(({ node, weight }) => [node, weight]));
  const steps = Object.entries(route.seconds).map(([step, seconds]) => `${step} ${Math.round(1000 * seconds)} ms`);
  const relation = route.relation ? `, order in time: ${route.relation.kind}` : "";
  const parts = route.parts ?? (route.within ? [route.within] : []);
  const within = parts.length ? `, within ${parts.map(([start, end]) => interval({ start, end })).join(" and ")}` : "";
  return make(
    "details",
    {},
    make("summary", {}, "How it was found"),
    make(
      "div.explain",
      { tabindex: 0, role: "region", "aria-label": "How it was found" },
      make("p", {}, `Policy ${policy}${relation}${within}. Time: ${steps.join(", ") || "none"}.`),
      ...route.looks.map((look) => table(look, weights)),
      ...(route.looks.length ? [] : [make("p", {}, "Nothing was scored.")]),
    ),
  );
}

function table(look, weights) {
  const compared = look.candidates.some((candidate) => candidate.evidence !== null);
  const number = (value) => (value === null ? "–" : value.toFixed(2));
  const absent = look.not_there === null ? "" : `; not there ${percent(look.not_there)}`;
  return make(
    "table",
    {},
    make("caption", {}, `Looked for “${look.statement}”: ${look.candidates.length} of ${look.segments} segments ${compared ? "compared" : "scored"}${absent}`),
    make("thead", {}, make("tr", {}, ...["Node", "Time", "p", "Weight", ...(compared ? ["Evidence"] : []), "Nats", "Key", "Why"].map((name) => make("th", { scope: "col" }, name)))),
    make(
      "tbody",
      {},
      ...look.candidates.map((candidate) =>
        make(
          "tr",
          {},
          ...[
            candidate.node,
            interval(candidate),
            `${(100 * candidate.p).toFixed(1)} %`,
            weights.has(candidate.node) ? weights.get(candidate.node).toFixed(2) : "–",
            ...(compared ? [number(candidate.evidence)] : []),
            number(candidate.nats),
            number(candidate.key),
            candidate.sources.join(", "),
          ].map((value) => make("td", {}, value)),
        ),
      ),
    ),
  );
}
