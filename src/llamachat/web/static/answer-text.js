// <answer-text>: an answer that is drawn as Markdown once it comes into sight; until then it is plain text, which
// the browser's own search finds.

import { AnswerView } from "/static/markdown.js";

const seen = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) if (entry.isIntersecting) entry.target.drawNow();
  },
  { rootMargin: "1200px" },
);

class AnswerText extends HTMLElement {
  #text = "";
  #drawn = 0;
  #view = null;
  #ended = true;
  #frame = 0;
  #eager = false;

  connectedCallback() {
    if (this.#eager) this.drawNow();
    else if (!this.#view) seen.observe(this);
  }

  disconnectedCallback() {
    seen.unobserve(this);
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
  }

  get text() {
    return this.#text;
  }

  /** The whole text so far. While it grows, only what is new is drawn; anything else is drawn anew. */
  set text(value) {
    if (value === this.#text) return;
    const grown = !this.#ended && value.startsWith(this.#text);
    this.#text = value;
    if (!this.#view) {
      this.textContent = value;
    } else if (grown && this.#drawn) {
      this.#frame ||= requestAnimationFrame(() => this.#flush());
    } else {
      if (!grown) this.#begin();
      this.#flush();
    }
  }

  /** Draw at once: the end of an answer that was just seen to grow must not flicker. */
  set eager(value) {
    this.#eager = value;
    if (value && this.isConnected) this.drawNow();
  }

  /** Whether more text will come. */
  set growing(value) {
    if (value === !this.#ended) return;
    this.#ended = !value;
    if (!value && this.#view) this.#flush();
    if (!value) return;
    // What was drawn as ended is gone on with in its last paragraph.
    if (this.#view) this.#begin();
    this.drawNow();
  }

  drawNow() {
    if (this.#view && this.#drawn) return;
    seen.unobserve(this);
    if (!this.#view) this.#begin();
    this.#flush();
  }

  #begin() {
    this.replaceChildren();
    this.#view = new AnswerView(this);
    this.#drawn = 0;
  }

  #flush() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const before = performance.now();
    this.#view.add(this.#text.slice(this.#drawn));
    this.#drawn = this.#text.length;
    if (this.#ended) this.#view.end();
    this.dispatchEvent(new CustomEvent("drawn", { bubbles: true, detail: performance.now() - before }));
  }
}

customElements.define("answer-text", AnswerText);
