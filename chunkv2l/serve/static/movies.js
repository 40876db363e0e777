/** The list of movies. */

import { AnswerView } from "./answer.js";
import { getJson, postForEvents, postJson } from "./api.js";
import { byId, make } from "./dom.js";
import { clock, percent, plural } from "./times.js";

const EVERY = 1500; // milliseconds between looks, while indexes are looked at for the first time
const isReadOnly = byId("movies").dataset.readOnly === "true";
const watched = new Map(); // the builds that are watched, by movie: what is shown of each
const view = new AnswerView(byId("answer"), null, false, () => {});
let asking = null; // what ends the question that is being answered

load();
byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = byId("question").value.trim();
  history.pushState(null, "", `/?${new URLSearchParams({ q: question })}`);
  ask(question);
});
byId("stop").addEventListener("click", () => asking?.abort());
addEventListener("popstate", read);
read();

/** Ask the question that is in the address. */
function read() {
  const question = new URLSearchParams(location.search).get("q") ?? "";
  byId("question").value = question;
  if (question) ask(question);
  else {
    asking?.abort();
    byId("answer").hidden = true;
  }
}

/** Ask all movies, and show their moments as they come. */
async function ask(question) {
  asking?.abort();
  const own = (asking = new AbortController());
  view.begin(question);
  byId("stop").hidden = false;
  try {
    await postForEvents("/api/ask", { question, explain: true }, own.signal, (name, data) => {
      if (name === "moments") view.moments(data);
      else if (name === "text") view.text(data.text);
      else if (name === "answer") view.finish(data);
    });
  } catch (error) {
    if (own === asking) view.fail(error.name === "AbortError" ? "Stopped." : error.message);
  } finally {
    if (own === asking) {
      asking = null;
      byId("stop").hidden = true;
    }
  }
}

async function load() {
  const status = byId("state");
  try {
    const [movies, builds] = await Promise.all([getJson("/api/movies"), getJson("/api/builds")]);
    show(movies);
    for (const build of builds) if (["starting", "running"].includes(build.state)) watch(build.movie);
    const waiting = movies.filter((movie) => movie.state === "not looked at yet").length;
    status.textContent = waiting ? `${plural(waiting, "index").replace("indexs", "indexes")} still to be looked at …` : "";
    status.classList.remove("error");
    if (waiting) setTimeout(load, EVERY);
  } catch (error) {
    status.textContent = error.message;
    status.classList.add("error");
  }
}

function show(movies) {
  byId("count").textContent = movies.length ? plural(movies.length, "movie") : "";
  byId("empty").hidden = movies.length > 0;
  byId("ask").hidden = !movies.some((movie) => movie.state === "ready");
  const list = byId("movies");
  const key = JSON.stringify(movies);
  if (list.dataset.key === key) return; // nothing is new, so nothing loses the focus
  list.dataset.key = key;
  list.replaceChildren(...movies.map(card));
  for (const [movie, build] of watched) {
    byId(`act-${movie}`)?.replaceChildren(...build.parts);
    byId(`label-${movie}`)?.replaceChildren("Being built …");
  }
}

function card(movie) {
  const isReady = movie.state === "ready";
  const picture = make("div.picture");
  if (isReady) {
    const middle = Math.floor((movie.segments - 1) / 2);
    picture.append(make("img", { src: `/api/movies/${movie.id}/thumbnail/${middle}`, alt: "", loading: "lazy" }), make("span.length", {}, clock(movie.movie.duration)));
  } else picture.append(make("span", { id: `label-${movie.id}` }, { refused: "Can’t be used", "no index": "No index yet", unfinished: "Unfinished index" }[movie.state] ?? "Being looked at …"));
  const name = isReady ? movie.movie.name : movie.name;
  return make(
    "li.card",
    {},
    picture,
    make(
      "div.words",
      {},
      make("h2", {}, isReady ? make("a", { href: `/movie/${movie.id}` }, name) : name),
      isReady ? facts(movie) : null,
      movie.error ? make("p.error", {}, movie.error) : null,
      ["no index", "unfinished"].includes(movie.state) && !isReadOnly ? make("div.act", { id: `act-${movie.id}` }, ...offer(movie.id, movie.name, movie.state)) : null,
    ),
  );
}

/** Return the button that begins a build. */
function offer(movie, name, state) {
  const words = state === "unfinished" ? "Go on building" : "Build index";
  return [make("button", { type: "button", "aria-label": `${words} of ${name}`, click: () => build(movie) }, words)];
}

async function build(movie) {
  try {
    await postJson("/api/builds", { movie });
    watch(movie, true);
  } catch (error) {
    byId(`act-${movie}`)?.append(make("p.error", { role: "alert" }, error.message));
  }
}

/** Show a build's progress until it has ended. */
function watch(movie, isAsked = false) {
  if (watched.has(movie)) return;
  const bar = make("progress", { max: 1, "aria-label": "Progress of the build" });
  const words = make("span.quiet", { role: "status" }, "Starting …");
  const cancel = make("button", { type: "button", click: () => end(movie, cancel) }, "Cancel");
  watched.set(movie, { parts: [bar, words, cancel] });
  byId(`act-${movie}`)?.replaceChildren(bar, words, cancel);
  byId(`label-${movie}`)?.replaceChildren("Being built …");
  if (isAsked) cancel.focus();
  const events = new EventSource(`/api/builds/${movie}/events`);
  events.addEventListener("build", (event) => {
    const state = JSON.parse(event.data);
    if (["starting", "running"].includes(state.state)) {
      tell(state.progress, bar, words);
      return;
    }
    events.close();
    watched.delete(movie);
    const holder = byId(`act-${movie}`);
    if (state.state === "failed") holder?.replaceChildren(make("p.error", { role: "alert" }, state.error), ...offer(movie, state.name, "no index"));
    else if (state.state === "cancelled") {
      holder?.replaceChildren(...offer(movie, state.name, "unfinished"), make("span.quiet", { role: "status" }, "Cancelled; what is stored stays."));
      if (isAsked) holder?.firstElementChild.focus();
    } else load();
  });
  events.addEventListener("error", () => {
    words.textContent = "The server can’t be reached; the build is watched again when it can.";
  });
}

function tell(progress, bar, words) {
  if (!progress || !progress.total) return;
  bar.value = Math.min(1, progress.done / progress.total);
  const left = progress.eta === null ? "" : `, ${clock(progress.eta)} left`;
  words.textContent = `${percent(bar.value)}, ${plural(progress.segments, "segment")}${left}`;
}

async function end(movie, button) {
  button.disabled = true;
  button.textContent = "Ending …";
  try {
    await getJson(`/api/builds/${movie}`, { method: "DELETE" });
  } catch (error) {
    button.after(make("p.error", { role: "alert" }, error.message));
  }
}

function facts(movie) {
  const words = { seen: "pictures", heard: "speech", read: "text on screen" };
  const values = [plural(movie.segments, "segment"), movie.chapters ? plural(movie.chapters, "chapter") : null, movie.channels.map((channel) => words[channel] ?? channel).join(" + ")];
  return make("p.facts", {}, ...values.filter(Boolean).map((value) => make("span", {}, value)));
}
