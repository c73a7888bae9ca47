// Markdown as it streams. Blocks that are finished are parsed, sanitised and highlighted once; only the tail is
// drawn again. `toFragment` is the one function that makes HTML of an answer, and it sanitises last.

import { Lexer, Parser, Marked } from "/static/vendor/marked.js";
import "/static/vendor/purify.js";
import { words } from "/static/words.js";

const purify = globalThis.DOMPurify;
const LINKS = /^(?:https?:|mailto:)/i;

// Only $$…$$, \[…\] and \(…\): a single dollar is money more often than mathematics.
const MATH = [
  { name: "mathBlock", level: "block", open: /(?:^|\n)(?:\$\$|\\\[)/, rule: /^(?:\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\])(?:\n|$)/ },
  { name: "mathInline", level: "inline", open: /\$\$|\\\(|\\\[/, rule: /^(?:\$\$([^$\n]+?)\$\$|\\\(([\s\S]+?)\\\)|\\\[([\s\S]+?)\\\])/ },
];

// HTML in an answer is shown as what it is, but for a few tags without attributes that Markdown has no marks for.
const PLAIN_TAG = /^<\/?(?:br|sub|sup|kbd|u|b|i|em|strong)\s*\/?>$/i;

const marked = new Marked({ gfm: true, breaks: false }, {
  // A definition at the end would change links far above it, which are drawn already.
  tokenizer: { def: () => undefined },
  renderer: { html: ({ text }) => (PLAIN_TAG.test(text) ? text : escapeHtml(text)) },
  extensions: MATH.map(({ name, level, open, rule }) => ({
    name,
    level,
    start: (source) => source.match(open)?.index,
    tokenizer(source) {
      const match = rule.exec(source);
      if (match) return { type: name, raw: match[0], text: (match[1] ?? match[2] ?? match[3]).trim() };
    },
    renderer: (token) =>
      `<span data-math="${level === "block" ? "block" : "inline"}">${escapeHtml(token.text)}</span>`,
  })),
});

function escapeHtml(text) {
  return text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

purify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName === "A") {
    const href = node.getAttribute("href") ?? "";
    if (!LINKS.test(href)) {
      node.removeAttribute("href");
    } else {
      node.setAttribute("target", "_blank");
      node.setAttribute("rel", "noopener noreferrer");
      node.setAttribute("title", href);
    }
  }
  if (node.tagName === "IMG" && !/^(?:data:image\/|blob:)/i.test(node.getAttribute("src") ?? "")) {
    // Fetching it would tell its host who reads this, and when.
    const source = node.getAttribute("src") ?? "";
    const text = document.createElement(LINKS.test(source) ? "a" : "span");
    text.textContent = `🖼 ${node.getAttribute("alt") || source || "?"}`;
    if (LINKS.test(source)) {
      text.setAttribute("href", source);
      text.setAttribute("target", "_blank");
      text.setAttribute("rel", "noopener noreferrer");
      text.setAttribute("title", source);
    }
    node.replaceWith(text);
  }
  if (node.tagName === "INPUT" && node.getAttribute("type") !== "checkbox") node.remove();
});

const CONFIG = {
  RETURN_DOM_FRAGMENT: true,
  USE_PROFILES: { html: true },
  FORBID_TAGS: ["style", "form", "button", "select", "textarea", "option", "iframe", "object", "embed", "video",
    "audio", "picture", "source", "track", "map", "area", "dialog", "template", "slot", "marquee"],
  FORBID_ATTR: ["style", "class", "id", "name", "srcset", "background", "autofocus", "tabindex", "contenteditable",
    "draggable", "action", "formaction", "accesskey", "popover", "popovertarget"],
  ADD_ATTR: ["data-math"],
  // Their values are not addresses, whose rule would drop them.
  ADD_URI_SAFE_ATTR: ["data-math", "align", "start", "type", "checked", "disabled"],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|data:image\/(?:png|jpeg|gif|webp);base64,|blob:)/i,
};

// The language of a code block travels separately: classes do not pass the sanitiser.
function toFragment(tokens) {
  try {
    return drawn(tokens);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    // Nested deeper than a stack is: what it says is shown all the same.
    const text = document.createElement("p");
    text.textContent = tokens.map((token) => token.raw).join("");
    return text;
  }
}

function drawn(tokens) {
  const fragment = purify.sanitize(new Parser({ ...marked.defaults }).parse(tokens), CONFIG);
  const languages = [];
  marked.walkTokens(tokens, (token) => {
    if (token.type === "code") languages.push((token.lang ?? "").trim().split(/\s+/)[0]);
  });
  const blocks = [...fragment.querySelectorAll("pre > code")];
  if (blocks.length === languages.length) blocks.forEach((code, i) => frameCode(code, languages[i]));
  for (const box of fragment.querySelectorAll("input")) box.setAttribute("aria-label", box.checked ? words.done : words.open);
  for (const table of fragment.querySelectorAll("table")) {
    const frame = document.createElement("div");
    frame.className = "table";
    frame.tabIndex = 0;
    table.replaceWith(frame);
    frame.append(table);
  }
  return fragment;
}

function frameCode(code, language) {
  const frame = document.createElement("figure");
  frame.className = "code";
  const bar = document.createElement("figcaption");
  const copy = document.createElement("button");
  copy.type = "button";
  copy.className = "copy";
  copy.dataset.copy = "code";
  copy.textContent = words.copy;
  bar.append(document.createTextNode(language.slice(0, 30)), copy);
  const pre = code.parentElement;
  pre.tabIndex = 0;
  pre.replaceWith(frame);
  frame.append(bar, pre);
  code.dataset.language = language.toLowerCase();
}

// -- what is loaded only when it is needed ----------------------------------------------------------------------

let highlighter;
async function highlight(code) {
  highlighter ??= import("/static/vendor/highlight.js").then((module) => module.default);
  const hljs = await highlighter;
  const language = code.dataset.language;
  if (!language || !hljs.getLanguage(language) || code.textContent.length > 100_000) return;
  // Its output is made of our own text, escaped, and of spans with classes.
  const html = hljs.highlight(code.textContent, { language, ignoreIllegals: true }).value;
  code.replaceChildren(purify.sanitize(html, { RETURN_DOM_FRAGMENT: true, ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"] }));
}

let katex;
function loadKatex() {
  katex ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "/static/vendor/katex.js";
    script.onload = () => resolve(globalThis.katex);
    script.onerror = reject;
    document.head.append(script);
  });
  return katex;
}

async function typeset(span) {
  const text = span.textContent;
  const html = (await loadKatex()).renderToString(text, {
    displayMode: span.dataset.math === "block", output: "mathml", throwOnError: false, trust: false,
    maxSize: 20, maxExpand: 200, strict: "ignore",
  });
  span.replaceChildren(purify.sanitize(html, { RETURN_DOM_FRAGMENT: true, USE_PROFILES: { mathMl: true }, FORBID_ATTR: ["style", "href", "xlink:href"] }));
  span.setAttribute("data-tex", text);
}

/** Highlight code and typeset formulas below `root`; text that has neither costs nothing. */
function finish(root) {
  const done = [];
  for (const code of root.querySelectorAll("code[data-language]:not([data-done])")) {
    code.dataset.done = "";
    done.push(highlight(code));
  }
  for (const span of root.querySelectorAll("span[data-math]:not([data-tex])")) done.push(typeset(span));
  return Promise.all(done);
}

/** The place of the last block before `end` that is more than blank lines. */
function before(tokens, end) {
  let place = end - 1;
  while (place > 0 && tokens[place].type === "space") place -= 1;
  return place;
}

const FENCE = /^ {0,3}(`{3,}|~{3,})([^\n]*)\n/;

/** Draws one answer into `root` as it grows: `add` text, then `end`. */
export class AnswerView {
  #root;
  #tail = "";
  #shown = null; // the elements of the tail
  #fence = null; // the text node of a code block that is still open, and its closing mark

  constructor(root) {
    this.#root = root;
  }

  add(text) {
    if (!text) return;
    this.#tail += text;
    if (this.#fence && this.#extendFence()) return;
    this.#fence = null;
    const tokens = this.#lex();
    // The last block may still grow, and as long as its first line is not whole, it may yet belong to the one
    // before it. What came before that is finished.
    let last = before(tokens, tokens.length);
    if (last > 0 && !tokens[last].raw.includes("\n") && !this.#tail.endsWith("\n")) last = before(tokens, last);
    if (last > 0) {
      const ready = tokens.slice(0, last);
      this.#tail = this.#tail.slice(ready.reduce((length, token) => length + token.raw.length, 0));
      this.#draw(ready, true);
      this.#draw(tokens.slice(last), false);
    } else {
      this.#draw(tokens, false);
    }
    this.#openFence();
  }

  end() {
    if (this.#tail) this.#draw(this.#lex(), true);
    this.#tail = "";
    this.#fence = null;
    return finish(this.#root);
  }

  #lex() {
    // Carriage returns and tabs would make the tokens' lengths differ from the text's.
    this.#tail = this.#tail.replace(/\r\n?/g, "\n");
    try {
      return new Lexer({ ...marked.defaults }).lex(this.#tail);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return [{ type: "text", raw: this.#tail, text: this.#tail, escaped: false }];
    }
  }

  #draw(tokens, ready) {
    this.#shown?.forEach((node) => node.remove());
    // Each block by itself: an element that one of them leaves open ends with it.
    const fragment = document.createDocumentFragment();
    for (const token of tokens) if (token.type !== "space") fragment.append(toFragment([token]));
    this.#shown = ready ? null : [...fragment.childNodes];
    this.#root.append(fragment);
    if (ready) finish(this.#root);
  }

  // A long code block would be parsed anew at every piece: while it is open, its text is only appended.
  #openFence() {
    const match = FENCE.exec(this.#tail);
    if (!match) return;
    const code = this.#root.lastElementChild?.querySelector?.("pre > code");
    if (!code || new RegExp(`\\n {0,3}${match[1][0]}{${match[1].length},}[ \\t]*(?:\\n|$)`).test(this.#tail)) return;
    code.textContent = this.#tail.slice(match[0].length);
    this.#fence = { code, mark: match[1], start: match[0].length, length: this.#tail.length };
  }

  #extendFence() {
    const { code, mark, start, length } = this.#fence;
    const from = Math.max(start - 1, this.#tail.lastIndexOf("\n", length - 1));
    const closing = new RegExp(`(?:^|\\n)[ \\t]*${mark[0]}{2,}`);
    if (closing.test(this.#tail.slice(from)) || this.#tail.includes("\r", from)) return false;
    code.append(document.createTextNode(this.#tail.slice(length)));
    this.#fence.length = this.#tail.length;
    return true;
  }
}

/** A whole answer at once: the same drawing as that of one that streamed. */
export function drawAnswer(root, text) {
  const view = new AnswerView(root);
  view.add(text);
  return view.end();
}
