/** A movie's page: ask, see where, play. The question and the time are in the address. */

import { AnswerView } from "./answer.js";
import { getJson, postForEvents, Refused } from "./api.js";
import { byId, make } from "./dom.js";
import { Player } from "./player.js";
import { Timeline } from "./timeline.js";
import { clock, interval, plural } from "./times.js";

const SHOWN_AT_ONCE = 240; // segments in the list below
const movieId = document.body.dataset.movie;
const address = `/api/movies/${movieId}`;
const view = {};
let current = -1; // the moment that is shown
let lastWeights = null; // nodes of the last answer, for follow-up questions
let asking = null; // what ends the question that is being answered

start().catch((error) => {
  byId("title").textContent = "This movie can’t be shown";
  byId("main").append(make("p.error", { role: "alert" }, error instanceof Refused ? error.message : `The page failed: ${error.message}`));
  byId("ask").hidden = true;
});

async function start() {
  const [movie, list, status] = await Promise.all([getJson(address), getJson("/api/movies"), getJson("/api/status")]);
  const summary = list.find((one) => one.id === movie.id) ?? {};
  movie.hasSubtitles = (summary.channels ?? []).includes("heard");
  view.movie = movie;
  byId("title").textContent = movie.movie.name;
  byId("crumb").textContent = movie.index;
  document.title = `${movie.movie.name} – chunkv2l`;
  const facts = [clock(movie.segments.at(-1).end), plural(movie.segments.length, "segment"), movie.chapters.length ? plural(movie.chapters.length, "chapter") : null, `model ${movie.model}`];
  byId("facts").replaceChildren(...facts.filter(Boolean).map((fact) => make("span", {}, fact)));
  view.timeline = new Timeline(byId("timeline"), movie, (seconds) => view.player.seek(seconds));
  view.player = new Player(movie, summary.has_movie === true, moved);
  view.answer = new AnswerView(byId("answer"), movie, summary.has_movie === true, play);
  for (const policy of status.policies) byId("policy").append(make("option", { value: policy }, policy));
  listSegments(0);
  byId("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    ask(byId("question").value.trim());
  });
  byId("stop").addEventListener("click", () => asking?.abort());
  document.addEventListener("keydown", steer);
  addEventListener("popstate", () => read(false));
  read(true);
}

/** Do what the address says: stand at its time, ask its question. */
function read(isFirst) {
  const values = new URLSearchParams(location.search);
  const seconds = Number.parseFloat(values.get("t"));
  const question = values.get("q") ?? "";
  byId("question").value = question;
  byId("policy").value = [...byId("policy").options].some((option) => option.value === values.get("policy")) ? values.get("policy") : "";
  if (Number.isFinite(seconds) && seconds >= 0) view.player.seek(Math.min(seconds, view.movie.segments.at(-1).end));
  if (question) ask(question, { keepsTime: Number.isFinite(seconds), isLink: true });
  else if (!isFirst) clear();
}

function clear() {
  byId("answer").hidden = true;
  view.timeline.setScores();
}

function write(values, isNew) {
  const search = new URLSearchParams(location.search);
  for (const [key, value] of Object.entries(values)) {
    if (value) search.set(key, value);
    else search.delete(key);
  }
  const target = `${location.pathname}${search.size ? `?${search}` : ""}`;
  if (isNew) history.pushState(null, "", target);
  else history.replaceState(null, "", target);
}

async function ask(question, { keepsTime = false, isLink = false } = {}) {
  asking?.abort();
  const own = (asking = new AbortController());
  const body = { question, explain: true };
  if (byId("policy").value) body.policy = byId("policy").value;
  if (byId("top-k").value) body.top_k = Number(byId("top-k").value);
  const isFollowUp = !isLink && lastWeights !== null && byId("scope-moments").checked;
  if (isFollowUp) {
    body.weights = lastWeights;
    delete body.policy;
    delete body.top_k;
  } else if (!isLink) write({ q: question, policy: body.policy ?? "", t: "" }, true);
  current = -1;
  view.answer.begin(isFollowUp ? `${question} (about the same moments)` : question);
  if (!isFollowUp) view.timeline.setScores();
  byId("stop").hidden = false;
  try {
    await postForEvents(`${address}/ask`, body, own.signal, (name, data) => {
      if (name === "moments") {
        view.answer.moments(data);
        if (!keepsTime && !isFollowUp && !view.answer.isAbsent && data.spans.length) show(0);
      } else if (name === "text") view.answer.text(data.text);
      else if (name === "answer") finish(data, isFollowUp);
    });
  } catch (error) {
    if (own === asking) view.answer.fail(error.name === "AbortError" ? "Stopped." : error.message);
  } finally {
    if (own === asking) {
      asking = null;
      byId("stop").hidden = true;
    }
  }
}

function finish(answer, isFollowUp) {
  view.answer.finish(answer);
  if (isFollowUp) return;
  const probabilities = new Map();
  for (const look of answer.route.looks) {
    probabilities.clear(); // the last statement is the one that decides
    for (const { node, p } of look.candidates) if (Number.isInteger(node)) probabilities.set(node, p);
  }
  if (!probabilities.size) for (const span of answer.spans) for (const number of span.segments) probabilities.set(number, span.score / span.segments.length);
  view.timeline.setScores(probabilities, answer.spans);
  lastWeights = answer.route.weights.length ? answer.route.weights : null;
  byId("scope").hidden = lastWeights === null;
  byId("scope-all").checked = true;
}

/** Stand at a moment's beginning. */
function show(number) {
  current = number;
  view.player.seek(view.answer.spans[number].start);
  view.answer.mark(number);
}

/** Play a moment. */
function play(number) {
  current = number;
  const span = view.answer.spans[number];
  view.answer.mark(number);
  view.player.play(span);
  write({ t: span.start.toFixed(1) }, false);
}

function moved(seconds) {
  view.timeline.setTime(seconds);
  const number = view.timeline.segmentAt(seconds).id;
  if (number !== view.marked) {
    view.marked = number;
    for (const item of document.querySelectorAll('.segment[aria-current="true"]')) item.removeAttribute("aria-current");
    byId(`segment-${number}`)?.setAttribute("aria-current", "true");
  }
  clearTimeout(view.written);
  view.written = setTimeout(() => write({ t: seconds > 0 ? seconds.toFixed(1) : "" }, false), 600);
}

function listSegments(first) {
  const list = byId("segments");
  const { chapters } = view.movie;
  const begins = new Map(chapters.length > 1 ? chapters.map(({ first: number, place }, k) => [number, `Chapter ${k + 1}, place ${place + 1}`]) : []);
  const items = view.movie.segments.slice(first, first + SHOWN_AT_ONCE).map((segment) =>
    make(
      "li",
      {},
      make(
        "button.segment",
        { type: "button", id: `segment-${segment.id}`, click: () => view.player.seek(segment.start) },
        make("img", { src: `${address}/thumbnail/${segment.id}`, alt: "", loading: "lazy" }),
        begins.has(segment.id) ? make("span.badge", {}, begins.get(segment.id)) : null,
        make("span.time", {}, interval(segment)),
        make("span.caption", {}, segment.uncertain ? `${segment.caption} (uncertain)` : segment.caption),
        segment.speech ? make("span.caption.quiet", {}, `“${segment.speech.length > 140 ? `${segment.speech.slice(0, 138)} …` : segment.speech}”`) : null,
      ),
    ),
  );
  list.append(...items);
  const next = first + items.length;
  const more = byId("more");
  more.hidden = next >= view.movie.segments.length;
  more.onclick = () => {
    listSegments(next);
    byId(`segment-${next}`)?.focus();
  };
}

/** Space plays, arrows go through the moments, a slash asks. */
function steer(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const { target } = event;
  const isTyping = target.matches("input:not([type=radio]), select, textarea");
  if (event.key === "/" && !isTyping) {
    event.preventDefault();
    byId("question").focus();
    byId("question").select();
  } else if (event.key === "Escape" && isTyping) target.blur();
  else if (event.key === " " && !isTyping && !target.matches("button, summary, a, input, video")) {
    event.preventDefault();
    view.player.toggle();
  } else if ((event.key === "ArrowRight" || event.key === "ArrowLeft") && !isTyping && !target.matches("video, input") && view.answer.spans.length) {
    event.preventDefault();
    const step = event.key === "ArrowRight" ? 1 : -1;
    const count = view.answer.spans.length;
    show(current < 0 ? (step > 0 ? 0 : count - 1) : (current + step + count) % count);
  }
}
