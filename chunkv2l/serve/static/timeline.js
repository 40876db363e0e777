/** The time line of a movie: chapters by place, segments, the scores of a question, and pictures where the pointer is. */

import { draw, make } from "./dom.js";
import { clock, interval, percent } from "./times.js";

const HEIGHT = 84; // of the drawing, in its own units
const CHAPTERS = 12; // height of the row of chapters
const PLACES = 8; // colours
const STEP = 5; // seconds that an arrow key moves by

/**
 * @param {HTMLElement} root an empty element
 * @param {object} movie as the API shows it
 * @param {(seconds: number) => void} seek
 */
export class Timeline {
  constructor(root, movie, seek) {
    this.root = root;
    this.movie = movie;
    this.seek = seek;
    this.length = movie.segments.at(-1).end;
    this.time = 0;
    this.probabilities = new Map();
    this.scores = draw("path.scores");
    this.chosen = draw("path.chosen");
    this.playhead = make("div.playhead");
    this.ranks = make("div", { "aria-hidden": "true" });
    this.peek = make("div.peek", { hidden: true, "aria-hidden": "true" });
    this.track = make(
      "div.track",
      {
        role: "slider",
        tabindex: 0,
        "aria-label": "Position in the movie",
        "aria-valuemin": 0,
        "aria-valuemax": Math.round(this.length),
        click: (event) => this.seek(this.secondsAt(event)),
        keydown: (event) => this.steer(event),
        pointermove: (event) => this.show(event),
        pointerleave: () => (this.peek.hidden = true),
      },
      this.drawing(),
      this.ranks,
      this.playhead,
    );
    root.classList.add("timeline");
    root.replaceChildren(this.peek, this.track, this.axis());
    addEventListener("resize", () => root.lastElementChild.replaceWith(this.axis()));
    this.setTime(0);
  }

  /** Move the mark to a time. */
  setTime(seconds) {
    this.time = Math.min(seconds, this.length);
    this.playhead.style.left = `${this.x(this.time)}%`;
    const segment = this.segmentAt(this.time);
    const caption = segment.caption ? `: ${segment.caption}` : "";
    this.track.setAttribute("aria-valuenow", Math.round(this.time));
    this.track.setAttribute("aria-valuetext", `${clock(this.time)} of ${clock(this.length)}, segment ${segment.id}${caption}`);
  }

  /** Draw what segments scored, and number the moments. Without arguments, draw none. */
  setScores(probabilities = new Map(), spans = []) {
    this.probabilities = probabilities;
    const most = Math.max(0.05, ...probabilities.values());
    const inSpan = new Set(spans.slice(0, 1).flatMap((span) => span.segments));
    const bars = { scores: "", chosen: "" };
    for (const [number, p] of probabilities) {
      const segment = this.movie.segments[number];
      if (!segment || !(p > 0)) continue;
      const height = Math.max(1.5, (p / most) * (HEIGHT - CHAPTERS - 22));
      const [left, right] = [10 * this.x(segment.start), 10 * this.x(segment.end)];
      bars[inSpan.has(number) ? "chosen" : "scores"] += `M${left} ${HEIGHT}V${HEIGHT - height}H${right}V${HEIGHT}Z`;
    }
    this.scores.setAttribute("d", bars.scores);
    this.chosen.setAttribute("d", bars.chosen);
    this.ranks.replaceChildren(
      ...spans.slice(0, 3).map((span, number) => {
        const mark = make("span.rank", {}, number + 1);
        mark.style.left = `clamp(0.625rem, ${this.x((span.start + span.end) / 2)}%, calc(100% - 0.625rem))`;
        return mark;
      }),
    );
  }

  segmentAt(seconds) {
    const { segments } = this.movie;
    let [low, high] = [0, segments.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (segments[middle].start <= seconds) low = middle;
      else high = middle - 1;
    }
    return segments[low];
  }

  x(seconds) {
    return (100 * seconds) / this.length;
  }

  secondsAt(event) {
    const box = this.track.getBoundingClientRect();
    return Math.max(0, Math.min(0.999999, (event.clientX - box.left) / box.width)) * this.length;
  }

  drawing() {
    const { chapters, segments } = this.movie;
    const edges = segments.slice(1).map((segment) => `M${10 * this.x(segment.start)} ${chapters.length ? CHAPTERS : 0}V${HEIGHT}`);
    return draw(
      "svg",
      { viewBox: `0 0 1000 ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      draw("path.segment-edges", { d: segments.length <= 2000 ? edges.join("") : "" }),
      this.scores,
      this.chosen,
      ...chapters.map((chapter) =>
        draw(`rect.chapter.place-${chapter.place % PLACES}`, {
          x: 10 * this.x(chapter.start),
          width: Math.max(0.5, 10 * this.x(chapter.end - chapter.start)),
          y: 0,
          height: CHAPTERS,
        }),
      ),
    );
  }

  axis() {
    const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200];
    const most = Math.max(2, Math.floor(this.root.clientWidth / 90)); // labels that have room
    const step = steps.find((seconds) => this.length / seconds <= most) ?? 86400;
    const times = [];
    for (let time = 0; time < this.length - step * 0.6; time += step) times.push(time); // none so near the end that both overlap
    times.push(this.length);
    return make(
      "div.axis",
      { "aria-hidden": "true" },
      ...times.map((time) => {
        const label = make("span", {}, clock(time));
        label.style.left = `${this.x(time)}%`;
        return label;
      }),
    );
  }

  show(event) {
    if (event.pointerType === "touch") return;
    const seconds = this.secondsAt(event);
    const segment = this.segmentAt(seconds);
    const chapter = this.movie.chapters.find((one) => one.first <= segment.id && segment.id <= one.last);
    const p = this.probabilities.get(segment.id);
    if (this.peeked !== segment.id || this.peekedAmong !== this.probabilities) {
      this.peeked = segment.id;
      this.peekedAmong = this.probabilities;
      const facts = [interval(segment), chapter ? `chapter ${this.movie.chapters.indexOf(chapter) + 1}, place ${chapter.place + 1}` : null, p === undefined ? null : percent(p)];
      this.peek.replaceChildren(
        make("img", { src: `/api/movies/${this.movie.id}/thumbnail/${segment.id}`, alt: "" }),
        make("p", {}, facts.filter(Boolean).join(" · ")),
        ...[segment.caption, segment.speech && `“${segment.speech}”`].filter(Boolean).map((text) => make("p.quiet", {}, text.length > 120 ? `${text.slice(0, 118)} …` : text)),
      );
    }
    const box = this.track.getBoundingClientRect();
    const left = Math.max(0, Math.min(box.width - 208, event.clientX - box.left - 104));
    this.peek.style.left = `${left}px`;
    this.peek.hidden = false;
  }

  steer(event) {
    const moves = { ArrowLeft: -STEP, ArrowDown: -STEP, ArrowRight: STEP, ArrowUp: STEP, PageUp: 6 * STEP, PageDown: -6 * STEP };
    let target = null;
    if (event.key in moves) target = this.time + moves[event.key];
    else if (event.key === "Home") target = 0;
    else if (event.key === "End") target = this.length;
    if (target === null) return;
    event.preventDefault();
    event.stopPropagation();
    this.seek(Math.max(0, Math.min(this.length - 0.001, target)));
  }
}
