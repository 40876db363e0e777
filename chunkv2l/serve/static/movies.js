/** The list of movies. */

import { getJson } from "./api.js";
import { byId, make } from "./dom.js";
import { clock, plural } from "./times.js";

const EVERY = 1500; // milliseconds between looks, while indexes are looked at for the first time

load();

async function load() {
  const status = byId("state");
  try {
    const movies = await getJson("/api/movies");
    show(movies);
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
  const list = byId("movies");
  const key = JSON.stringify(movies);
  if (list.dataset.key === key) return; // nothing is new, so nothing loses the focus
  list.dataset.key = key;
  list.replaceChildren(...movies.map(card));
}

function card(movie) {
  const isReady = movie.state === "ready";
  const picture = make("div.picture");
  if (isReady) {
    const middle = Math.floor((movie.segments - 1) / 2);
    picture.append(make("img", { src: `/api/movies/${movie.id}/thumbnail/${middle}`, alt: "", loading: "lazy" }), make("span.length", {}, clock(movie.movie.duration)));
  } else picture.append(make("span", {}, { refused: "Can’t be used", "no index": "No index yet", unfinished: "Unfinished index" }[movie.state] ?? "Being looked at …"));
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
    ),
  );
}

function facts(movie) {
  const words = { seen: "pictures", heard: "speech", read: "text on screen" };
  const values = [plural(movie.segments, "segment"), movie.chapters ? plural(movie.chapters, "chapter") : null, movie.channels.map((channel) => words[channel] ?? channel).join(" + ")];
  return make("p.facts", {}, ...values.filter(Boolean).map((value) => make("span", {}, value)));
}
