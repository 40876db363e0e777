/** Play the movie, or show its pictures where the browser can't play it. */

import { byId, make } from "./dom.js";
import { clock } from "./times.js";

/** The address of a piece of the movie as .mp4 that every browser plays. */
export function clipAddress(movie, span) {
  return `/api/movies/${movie.id}/clip?start=${span.start.toFixed(3)}&end=${span.end.toFixed(3)}&reencode=true`;
}

export class Player {
  /**
   * @param {object} movie as the API shows it
   * @param {boolean} hasMovie whether the movie lies beside its index
   * @param {(seconds: number) => void} moved called whenever the time is another
   */
  constructor(movie, hasMovie, moved) {
    this.movie = movie;
    this.moved = moved;
    this.video = byId("video");
    this.still = byId("still");
    this.note = byId("unplayable");
    this.until = null;
    this.offset = 0; // seconds of the movie at which what is loaded begins
    this.time = 0;
    this.isPlayable = hasMovie;
    this.video.addEventListener("timeupdate", () => this.follow());
    this.video.addEventListener("seeked", () => this.follow());
    this.video.addEventListener("error", () => this.fall());
    if (!hasMovie) {
      this.fall();
      return;
    }
    this.video.poster = `/api/movies/${movie.id}/thumbnail/0`;
    if (movie.hasSubtitles) {
      this.video.append(
        make("track", { kind: "subtitles", label: "Subtitles", src: `/api/movies/${movie.id}/subtitles.vtt`, default: true }),
      );
    }
    this.video.src = `/api/movies/${movie.id}/movie`;
  }

  /** Go to a time; the picture stands there. */
  seek(seconds) {
    this.until = null;
    this.go(seconds);
  }

  /** Play a moment, and stand still at its end. */
  play(span) {
    this.go(span.start);
    this.until = span.end;
    if (this.isPlayable) this.start();
    else this.offerClip(span);
  }

  /** Play, or pause. */
  toggle() {
    if (!this.isPlayable) return;
    this.until = null;
    if (this.video.paused) this.start();
    else this.video.pause();
  }

  start() {
    this.video.play().catch((error) => {
      if (error.name === "NotSupportedError") this.fall();
    });
  }

  go(seconds) {
    this.time = seconds;
    if (this.isPlayable) {
      if (this.video.readyState === 0) {
        this.video.addEventListener("loadedmetadata", () => (this.video.currentTime = this.time), { once: true });
      } else this.video.currentTime = seconds;
    } else this.showStill();
    this.moved(seconds);
  }

  follow() {
    if (!this.isPlayable || this.video.readyState === 0) return;
    this.time = this.video.currentTime;
    if (this.until !== null && this.time >= this.until && !this.video.paused) {
      this.video.pause();
      this.until = null;
    }
    this.moved(this.time);
  }

  /** Show pictures instead of the movie: it isn't there, or the browser doesn't play it. */
  fall() {
    if (this.video.dataset.clip) return;
    const hadMovie = this.isPlayable;
    this.isPlayable = false;
    this.canClip = hadMovie;
    this.video.hidden = true;
    this.still.hidden = false;
    this.note.hidden = false;
    this.note.replaceChildren(
      make(
        "span",
        {},
        hadMovie
          ? "This browser can’t play this movie, so its pictures are shown. Moments can be played as clips."
          : "The movie isn’t beside its index, so its pictures are shown.",
      ),
    );
    this.showStill();
  }

  showStill() {
    const { segments } = this.movie;
    const segment = segments.findLast((one) => one.start <= this.time) ?? segments[0];
    this.still.src = `/api/movies/${this.movie.id}/thumbnail/${segment.id}`;
    this.still.alt = segment.caption || `Picture of the movie at ${clock(segment.start)}`;
  }

  offerClip(span) {
    if (!this.canClip) return;
    this.video.dataset.clip = "true";
    this.video.src = clipAddress(this.movie, span);
    this.video.hidden = false;
    this.still.hidden = true;
    this.video.play().catch(() => undefined); // the button of the player is there
  }
}
