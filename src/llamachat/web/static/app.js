// The page: what is shown follows from `state`; what the user does becomes a call, and the server's events change it.

import { html, nothing, render } from "/static/vendor/lit-html.js";
import * as api from "/static/api.js";
import { sign } from "/static/icons.js";
import { language, words } from "/static/words.js";
import "/static/answer-text.js";

const LONG_PASTE_LINES = 20;
const LONG_PASTE_CHARACTERS = 2000;
const NEAR_END = 60;

const state = {
  about: {}, list: [], query: "", menuOpen: false, panelOpen: false,
  key: null, conversation: null, live: null, status: "", progress: null, running: false, error: "", notices: [],
  editing: null, folded: [], attaching: [], connection: "", signedOut: false, thoughts: {}, asked: null, templates: null,
};
let leave = () => {};
let attending = false;
let followEnd = true;
let lastTop = 0;
const drafts = JSON.parse(sessionStorage.getItem("drafts") ?? "{}");

const $ = (selector) => document.querySelector(selector);
const box = () => $("#message");

// -- what happens -----------------------------------------------------------------------------------------------

async function attempt(action, missing = null) {
  try {
    return await action();
  } catch (error) {
    if (!(error instanceof api.Refused)) throw error;
    if (error.status === 404 && missing) await missing();
    keepDraft();
    if (error.status === 401) state.signedOut = true;
    else state.error = error.status === 0 ? words.gone : error.message;
    draw();
    return undefined;
  }
}

async function start() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) {
    history.replaceState(null, "", location.pathname);
    await attempt(() => api.signIn(token));
  }
  const about = await attempt(api.about);
  if (!about) return;
  state.about = about;
  await refreshList();
  await open(addressed());
  box()?.focus();
}

/** The conversation that the address names. */
function addressed() {
  const [, key = null] = location.pathname.match(/^\/c\/(.+)$/) ?? [];
  try {
    return key && decodeURIComponent(key);
  } catch {
    return key; // and the server says that there is none
  }
}

let listed = 0;
async function refreshList() {
  const mine = (listed += 1);
  const found = await attempt(() => api.list(state.query));
  if (found && mine === listed) state.list = found;
  draw();
}

async function open(key, push = false) {
  keepDraft();
  rest();
  Object.assign(state, {
    key, live: null, status: "", progress: null, running: false, error: "", notices: [], editing: null,
    attaching: [], menuOpen: false, connection: "",
  });
  restoreDraft();
  followEnd = true;
  if (push) history.pushState(null, "", key === null ? "/" : `/c/${encodeURIComponent(key)}`);
  const said = key === null ? null : (await attempt(() => api.load(key))) ?? null;
  if (state.key !== key) return;
  state.conversation = said;
  if (said) attend();
  else state.key = null;
  draw();
  toEnd();
}

function rest() {
  leave();
  leave = () => {};
  attending = false;
}

/** A browser has six connections for a server: a tab out of sight needs one only while an answer comes. */
function restIfHidden() {
  if (document.hidden && !state.running) rest();
}

async function wake() {
  if (document.hidden || attending || !state.conversation) return;
  attending = true;
  await reload();
  if (attending && state.conversation) attend();
}

function attend() {
  rest();
  attending = true;
  const { key, conversation } = state;
  state.running = conversation.running;
  const mine = (leave = api.follow(key, conversation.offset, (event, offset) => {
    if (leave === mine) handle(event, offset);
  }, (closed) => {
    if (leave !== mine) return;
    state.connection = closed === null ? "" : words.lost;
    // A browser gives up where the server answers with an error, as one that was just restarted does.
    if (closed) setTimeout(() => leave === mine && reload().then(() => leave === mine && attend()), 1000);
    draw();
  }));
}

let loaded = 0;
let sending = false; // the server may not know yet that a turn runs
async function reload() {
  const { key } = state;
  const mine = (loaded += 1);
  const said = await attempt(() => api.load(key), () => state.key === key && leaveDeleted());
  // An older answer than the newest question would bring back what is over.
  if (!said || state.key !== key || mine !== loaded) return;
  state.conversation = said;
  state.running = said.running || sending;
  if (!state.running) state.live = null;
  if (said.key !== key) {
    // It has been stored meanwhile, under a name that lasts.
    state.key = said.key;
    history.replaceState(null, "", `/c/${encodeURIComponent(said.key)}`);
  }
  draw();
  follow();
}

/** What was not sent yet of a conversation that is gone is kept for a new one. */
async function leaveDeleted() {
  const draft = box()?.value;
  await open(null, true);
  if (draft) giveBack(draft);
  refreshList();
}

const handlers = {
  begin: (event) => {
    const live = { text: "", thought: "", continues: event.continues };
    Object.assign(state, { running: true, live, error: "", notices: [], status: "" });
    loaded += 1; // what is on its way was asked for before
    const messages = state.conversation?.messages;
    if (event.question === null || !messages) {
      reload();
      return;
    }
    // The server has the answer to begin now. What else is new, a lasting name above all, is asked for later.
    if (messages.at(-1)?.id !== null) {
      messages.push({ id: null, role: "user", content: event.question, seen: true });
    }
    draw();
    setTimeout(() => state.conversation?.messages === messages && reload(), 300);
  },
  text: (event) => {
    state.live ??= { text: "", thought: "" };
    const first = !state.live.text;
    state.live.text += event.text;
    Object.assign(state, { progress: null, status: "" });
    const element = $("#live");
    if (first || !element) draw();
    else element.text = state.live.text;
  },
  thinking: (event) => {
    state.live ??= { text: "", thought: "" };
    state.live.thought += event.text;
    state.status = words.thinking;
    draw();
  },
  progress: (event) => {
    Object.assign(state, { progress: event, status: "" });
    draw();
  },
  queued: (event) => {
    state.status = `${words.waiting} ${event.position} ${event.position === 1 ? words.other : words.others}`;
    draw();
  },
  notice: (event) => {
    state.notices.push(event.text);
    draw();
  },
  error: (event) => {
    state.error = event.text;
    if (event.draft) giveBack(event.draft);
    draw();
  },
  changed: () => reload(),
  end: async () => {
    const { live } = state;
    Object.assign(state, { running: false, progress: null, status: "" });
    await reload();
    const last = state.conversation?.messages.at(-1);
    if (live?.thought && last?.role === "assistant") state.thoughts[last.id] = live.thought;
    if (state.live === live) state.live = null; // and not that of a turn that has begun meanwhile
    draw();
    announce(words.answerDone);
    refreshList();
    restIfHidden();
  },
};

function handle(event, offset) {
  if (state.conversation) state.conversation.offset = offset;
  handlers[event.type]?.(event);
}

async function send(action = "ask", text = "", node = null) {
  if (state.running || !(await begin())) return;
  const { key } = state;
  const pending = state.attaching.length > 0;
  if (!(await attached) && pending) return;
  if (state.running || state.key !== key) return;
  const parts = action === "ask" ? [...state.folded, text] : [text];
  const wanted = { action, text: parts.filter(Boolean).join("\n\n").toWellFormed(), head: state.conversation.head, node };
  if (action === "ask" && !wanted.text && !state.conversation.files.length) return;
  Object.assign(state, { error: "", editing: null, running: true, folded: [] });
  followEnd = true;
  if (action === "ask") setBox("");
  draw();
  sending = true;
  const taken = await attempt(() => api.turn(key, wanted));
  sending = false;
  if (taken) return;
  state.running = false;
  if (action === "ask" || action === "edit") giveBack(wanted.text);
  await reload();
}

/** Change something of the conversation that is shown. */
async function adjust(changes) {
  if (state.key === null) return;
  await attempt(() => api.change(state.key, changes));
  await reload();
}

async function changeOf(key, changes) {
  await attempt(() => api.change(key, changes));
  await refreshList();
  if (key === state.key) await reload();
}

async function removeOne(key) {
  await attempt(() => api.remove(key));
  if (key === state.key) await open(null, true);
  await refreshList();
}

/** Ask for a text (where there is a `value`) or a consent; `act` is called with it. */
function askFor(title, label, act, { value, danger = false } = {}) {
  state.asked = { title, label, act, value, danger };
  draw();
  queueMicrotask(() => {
    $("#dialog").showModal();
    $("#answer")?.select();
  });
}

let beginning = null;
/** Where nothing is open, a new conversation is: whether there is one now. */
function begin() {
  beginning ??= create().finally(() => (beginning = null));
  return beginning;
}

async function create() {
  if (state.key !== null) return state.conversation !== null;
  const made = await attempt(api.create);
  if (!made) return false;
  keepDraft();
  drafts[made.key] = drafts[""];
  await open(made.key, true);
  delete drafts[""]; // it went along
  return state.conversation !== null;
}

let attached = Promise.resolve(true);
async function addFiles(files) {
  if (!(await begin())) return;
  const { key, attaching } = state;
  for (const file of files) {
    if (!attaching.length) attached = Promise.resolve(true);
    attaching.push(file.name);
    attached = attached.then(async (well) => {
      const done = await attempt(() => api.attach(key, file));
      attaching.shift();
      await reload();
      return well && done !== undefined;
    });
  }
  draw();
}

async function importFile(event) {
  const [file] = event.target.files;
  event.target.value = "";
  if (!file) return;
  const text = await file.text();
  await attempt(() => api.importFile(text));
  await refreshList();
}

// -- the box ----------------------------------------------------------------------------------------------------

function setBox(text) {
  drafts[state.key ?? ""] = { text, folded: state.folded };
  if (!box()) return;
  box().value = text;
  fitBox();
}

function giveBack(text) {
  const { text: typed = "" } = drafts[state.key ?? ""] ?? {};
  setBox(typed ? `${text}\n${typed}` : text);
}

function keepDraft() {
  if (box()) drafts[state.key ?? ""] = { text: box().value, folded: state.folded };
}

function restoreDraft() {
  const { text = "", folded = [] } = drafts[state.key ?? ""] ?? {};
  state.folded = folded;
  setBox(text);
}

function fitBox() {
  const area = box();
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight + area.offsetHeight - area.clientHeight}px`;
  follow();
}

function onKey(event) {
  // While an input method composes, Enter takes its suggestion; Safari says so by keyCode 229 alone.
  if (event.isComposing || event.keyCode === 229) return;
  if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
    event.preventDefault();
    send("ask", box().value);
  } else if (event.key === "ArrowUp" && !box().value && state.conversation) {
    const last = state.conversation.messages.findLast((message) => message.role === "user" && !message.note);
    if (last) edit(last);
  }
}

function onPaste(event) {
  const files = [...(event.clipboardData?.files ?? [])];
  const text = event.clipboardData?.getData("text/plain") ?? "";
  // Cells and formatted text come with a picture of themselves.
  if (files.length && !(text && event.clipboardData.getData("text/html"))) {
    event.preventDefault();
    addFiles(files);
    return;
  }
  if (text.split("\n").length > LONG_PASTE_LINES || text.length > LONG_PASTE_CHARACTERS) {
    event.preventDefault();
    state.folded.push(text);
    draw();
  }
}

function unfold(index) {
  const [text] = state.folded.splice(index, 1);
  setBox(text + (box().value ? `\n\n${box().value}` : ""));
  draw();
}

async function loadTemplates() {
  state.templates ??= (await attempt(() => api.templates(language))) ?? null;
  draw();
}

/** The template around what is in the box; the caret is where the text goes. */
function useTemplate(template) {
  const [before, after] = template.text.split("{input}");
  const text = before + box().value;
  setBox(text + (after ?? ""));
  box().focus();
  box().setSelectionRange(text.length, text.length);
}

function edit(message) {
  state.editing = { id: message.id, text: message.content };
  draw();
  queueMicrotask(() => $("#editor")?.focus());
}

// -- small things -----------------------------------------------------------------------------------------------

function scroller() {
  return $("#scroll");
}

function toEnd() {
  const element = scroller();
  if (!element) return;
  element.scrollTop = element.scrollHeight;
  lastTop = element.scrollTop;
}

/** To the end, unless somebody has scrolled up: the event that says so may not have come yet. */
function follow() {
  if (followEnd && scroller()?.scrollTop < lastTop) onScroll();
  if (followEnd) toEnd();
}

function onScroll() {
  const element = scroller();
  const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_END;
  if (atEnd !== followEnd) {
    followEnd = atEnd;
    $("#to-end").hidden = atEnd;
  }
}

function announce(text) {
  $("#said").textContent = text;
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Over plain http from another machine there is no clipboard: the old way is there.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.dataset.done = "";
  announce(words.copied);
  setTimeout(() => delete button.dataset.done, 1500);
}

// -- what is shown ----------------------------------------------------------------------------------------------

const icon = (name, label, act, more = {}) => html`<button
  type="button" class="icon ${more.class ?? ""}" title=${label} aria-label=${label} aria-pressed=${more.pressed ?? nothing}
  ?disabled=${more.disabled ?? false} @click=${act}>${sign(name)}</button>`;

const entry = (item) => html`<li class=${item.key === state.key ? "current" : ""}>
  <a href="/c/${encodeURIComponent(item.key)}" aria-current=${item.key === state.key ? "page" : nothing} @click=${(event) => {
    if (event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    open(item.key, true);
  }}>${item.pinned ? sign("star") : nothing}${item.title || words.untitled}${item.excerpt ? html`<small>${item.excerpt}</small>` : nothing}</a>
  <details class="more"><summary aria-label=${words.more} title=${words.more}>${sign("more")}</summary><div>
    <button type="button" @click=${() => askFor(words.rename, words.rename, (name) => changeOf(item.key, { name }), { value: item.title })}>${words.rename}</button>
    <button type="button" @click=${() => changeOf(item.key, { on_top: !item.pinned })}>${item.pinned ? words.unkeep : words.keep}</button>
    <a href=${api.exportUrl(item.key, "markdown")} download>${words.export} .md</a>
    <a href=${api.exportUrl(item.key, "json")} download>${words.export} .json</a>
    <button type="button" class="danger" @click=${() => askFor(words.reallyRemove, words.remove, () => removeOne(item.key), { danger: true })}>${words.remove}</button>
  </div></details>
</li>`;

const side = () => html`<nav id="side" class=${state.menuOpen ? "open" : ""} aria-label=${words.menu}>
  <div class="row">
    <button type="button" class="primary" @click=${() => open(null, true).then(() => box().focus())}>${words.newChat}</button>
    <label class="button">${words.importIt}<input type="file" class="hidden" accept=".json,.jsonl" @change=${importFile}></label>
  </div>
  <input id="search" type="search" placeholder=${words.search} aria-label=${words.searchHint} .value=${state.query}
    @input=${(event) => {
      state.query = event.target.value;
      refreshList();
    }}>
  <ul>${state.list.length ? state.list.map(entry) : html`<li class="none">${state.query ? words.nothing : ""}</li>`}</ul>
  <p class="hint">${words.shortcuts}</p>
</nav>`;

const pages = (message) => {
  const { siblings } = message;
  if (!siblings || siblings.length < 2) return nothing;
  const at = siblings.indexOf(message.id);
  const go = (step) => () => adjust({ head: message.tips[at + step] });
  return html`<span class="pages" role="group" aria-label="${words.branch} ${at + 1}/${siblings.length}">
    ${icon("previous", words.previous, go(-1), { disabled: at === 0 || state.running })}
    ${at + 1}/${siblings.length}
    ${icon("next", words.next, go(1), { disabled: at === siblings.length - 1 || state.running })}</span>`;
};

const editor = (message) => html`<form class="editor" @submit=${(event) => {
  event.preventDefault();
  send("edit", $("#editor").value, message.id);
}}><textarea id="editor" rows=${Math.min(12, message.content.split("\n").length + 1)} aria-label=${words.edit} .value=${state.editing.text}
  @keydown=${(event) => {
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Escape") {
      state.editing = null;
      draw();
    } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.target.form.requestSubmit();
    }
  }}></textarea><div class="row">
  <button type="button" @click=${() => {
    state.editing = null;
    draw();
  }}>${words.cancel}</button><button class="primary">${words.send}</button></div></form>`;

const question = (message, last) => html`<article class="question ${message.seen ? "" : "outside"}" aria-label=${words.you}>
  ${state.editing?.id === message.id ? editor(message) : html`<div class="said">${(message.pictures ?? []).map((url) =>
    html`<img src=${url} alt=${words.picture}>`)}${message.content}</div>`}
  <footer>${pages(message)}${message.seen ? nothing : html`<small>${words.outside}</small>`}
    ${icon("edit", words.edit, () => edit(message), { disabled: state.running })}
    ${last ? icon("undo", words.undo, () => adjust({ undo: true }), { disabled: state.running }) : nothing}
    ${icon("pin", message.pinned ? words.unpin : words.pin, () => adjust({ [message.pinned ? "unpin" : "pin"]: message.id }), { class: message.pinned ? "on" : "", pressed: String(message.pinned), disabled: state.running })}
    ${icon("copy", words.copy, (event) => copy(message.content, event.currentTarget))}
  </footer></article>`;

const thoughtOf = (text) => (text
  ? html`<details class="thought"><summary>${words.thought}</summary><pre>${text}</pre></details>` : nothing);

const answer = (message, last) => {
  const live = last && state.running && state.live?.continues ? state.live : null;
  const ended = { interrupted: words.stopped, length: words.length, error: words.error }[message.finish_reason];
  return html`<article class="answer ${message.seen ? "" : "outside"}" aria-label=${message.note ? words.summary : words.model}>
  ${message.note ? html`<small>${words.summary}</small>` : nothing}
  ${thoughtOf(state.thoughts[message.id])}
  <answer-text .eager=${last} .text=${live ? message.content + live.text : message.content} .growing=${Boolean(live)}></answer-text>
  <footer>${pages(message)}${ended ? html`<small class="ended">[${ended}]</small>` : nothing}
    ${message.seen ? nothing : html`<small>${words.outside}</small>`}
    ${last && ended ? html`<button type="button" ?disabled=${state.running} @click=${() => send("continue")}>${words.goOn}</button>` : nothing}
    ${last ? icon("retry", words.retry, () => send("retry"), { disabled: state.running }) : nothing}
    ${icon("copy", words.copy, (event) => copy(message.content, event.currentTarget))}
    ${message.speed ? html`<small>${message.completion_tokens} ${words.tokens} · ${message.speed.toFixed(1)} ${words.perSecond}</small>` : nothing}
  </footer></article>`;
};

const growing = () => html`<article class="answer" aria-label=${words.model} aria-busy="true">
  ${thoughtOf(state.live?.thought)}
  <answer-text id="live" .text=${state.live?.text ?? ""} .growing=${true}></answer-text></article>`;

const meter = () => {
  const { progress } = state;
  if (!progress) return nothing;
  return html`<label class="reading">${words.reading} ${progress.processed}/${progress.total}
    <progress max=${progress.total} value=${progress.processed}></progress></label>`;
};

const chat = () => {
  const messages = state.conversation?.messages ?? [];
  const spoken = messages.filter((message) => message.role !== "system");
  const lastQuestion = spoken.findLast((message) => message.role === "user" && !message.note);
  const lastAnswer = spoken.at(-1)?.role === "assistant" ? spoken.at(-1) : null;
  return html`<div id="scroll" @scroll=${onScroll} tabindex="-1"><div id="messages">
    ${spoken.length ? nothing : html`<p class="empty">${words.empty}</p>`}
    ${spoken.map((message) => (message.role === "user"
      ? message.note ? nothing : question(message, message === lastQuestion)
      : answer(message, message === lastAnswer)))}
    ${state.running && !state.live?.continues ? growing() : nothing}
    ${state.notices.map((text) => html`<p class="notice">${text}</p>`)}
    ${meter()}${state.status ? html`<p class="status">${state.status}</p>` : nothing}
  </div></div>`;
};

const composer = () => {
  const { files = [] } = state.conversation ?? {};
  return html`<form id="composer" @submit=${(event) => {
  event.preventDefault();
  send("ask", box().value);
}}>
  <button id="to-end" type="button" ?hidden=${followEnd} aria-label=${words.toEnd} title=${words.toEnd} @click=${() => {
    followEnd = true;
    toEnd();
  }}>${sign("down")}</button>
  ${state.connection ? html`<p class="status" role="status">${state.connection}</p>` : nothing}
  ${state.error ? html`<p class="error" role="alert">${state.error}
    ${icon("close", words.close, () => {
      state.error = "";
      draw();
    })}</p>` : nothing}
  <div class="chips">${state.folded.map((text, index) => html`<span class="chip">[${text.split("\n").length} ${words.lines}]
    <button type="button" @click=${() => unfold(index)}>${words.unfold}</button>
    ${icon("close", words.remove, () => {
      state.folded.splice(index, 1);
      draw();
    })}</span>`)}${files.map((file) => html`<span class="chip">${file.name} · ${file.tokens} ${words.tokens}</span>`)}
    ${files.length ? icon("close", words.remove, () => adjust({ detach: true }), { disabled: state.running }) : nothing}
    ${state.attaching.map((name) => html`<span class="chip" aria-busy="true">${name} …</span>`)}</div>
  <div class="row">
    <label class="button icon" title=${words.attach}>${sign("attach")}<input type="file" class="hidden" multiple aria-label=${words.attach} @change=${(event) => {
      addFiles([...event.target.files]);
      event.target.value = "";
    }}></label>
    ${templateMenu()}
    <textarea id="message" rows="1" placeholder=${words.message} aria-label=${words.message} title=${words.hint} autocomplete="off"
      @keydown=${onKey} @paste=${onPaste} @input=${() => {
        keepDraft();
        fitBox();
      }}></textarea>
    ${state.running
      ? html`<button type="button" id="stop" @click=${() => attempt(() => api.stop(state.key))}>${words.stop}</button>`
      : html`<button id="send" class="primary">${words.send}</button>`}
  </div>
</form>`;
};

const panel = () => {
  const { settings } = state.conversation ?? {};
  if (!state.panelOpen || !settings) return nothing;
  const field = (name, kind) => html`<label>${name}<input type="text" inputmode=${kind} ?disabled=${state.running} .value=${settings[name] ?? ""} placeholder=${words.default}
    @change=${(event) => adjust({ set: { [name]: event.target.value.trim() || "default" } })}></label>`;
  return html`<aside id="panel" aria-label=${words.settings}>
    <label>${words.system}<textarea rows="4" ?disabled=${state.running} .value=${settings.system ?? ""} @change=${(event) => adjust({ system: event.target.value })}></textarea></label>
    ${["temperature", "top_p", "top_k", "min_p", "repeat_penalty", "max_tokens", "seed"].map((name) => field(name, "decimal"))}</aside>`;
};

const gauge = () => {
  const match = /^(\d+)\/(\d+)$/.exec(state.conversation?.window ?? "");
  if (!match) return nothing;
  return html`<span class="gauge" title="${words.window}: ${match[0]} ${words.tokens}"><meter min="0" max=${match[2]} value=${match[1]}
    aria-label="${words.window}: ${match[0]} ${words.tokens}"></meter>${match[0]}</span>`;
};

const dialog = () => {
  const { asked } = state;
  const close = () => $("#dialog").close();
  return html`<dialog id="dialog" aria-labelledby="asked" @close=${() => {
    state.asked = null;
    draw();
  }}>${asked ? html`<form @submit=${(event) => {
    event.preventDefault();
    const value = $("#answer")?.value;
    close();
    asked.act(value);
  }}><h2 id="asked">${asked.title}</h2>
    ${asked.value === undefined ? nothing : html`<input id="answer" type="text" aria-labelledby="asked" .value=${asked.value}>`}
    <div class="row"><button type="button" @click=${close}>${words.cancel}</button>
    <button class=${asked.danger ? "danger" : "primary"}>${asked.label}</button></div></form>` : nothing}</dialog>`;
};

const templateMenu = () => html`<details class="more up" @toggle=${(event) => event.target.open && loadTemplates()}>
  <summary aria-label=${words.templates} title=${words.templates}>${sign("template")}</summary>
  <div>${(state.templates ?? []).map((template) => html`<button type="button" @click=${() => useTemplate(template)}>${language === "zh" && template.about
    ? html`${template.about}<small>${template.name}</small>` : html`${template.name}<small>${template.about}</small>`}</button>`)}</div></details>`;

const page = () => (state.signedOut
  ? html`<main class="out"><h1>llamachat</h1><p role="alert">${words.signedOut}</p></main>`
  : html`${side()}<main>
    <header>${icon("menu", words.menu, () => {
      state.menuOpen = !state.menuOpen;
      draw();
    }, { class: "menu" })}
      <h1>${state.conversation?.title || words.untitled}</h1>
      <small>${state.about.model ?? ""}</small>${gauge()}
      ${icon("settings", words.settings, async () => {
        if (!(await begin())) return;
        state.panelOpen = !state.panelOpen;
        draw();
      }, { pressed: String(state.panelOpen) })}</header>
    ${panel()}${chat()}${composer()}
    <p id="drop" hidden>${words.dropHere}</p><p id="said" class="hidden" aria-live="polite"></p>
  </main>${dialog()}`);

let drawing = false;
function draw() {
  if (drawing) return;
  drawing = true;
  queueMicrotask(() => {
    drawing = false;
    render(page(), document.body);
    document.title = state.conversation?.title ? `${state.conversation.title} · llamachat` : "llamachat";
    follow();
  });
}

// -- everywhere -------------------------------------------------------------------------------------------------

// A page that the browser keeps for the way back would hold one of the six connections that it has for a server.
addEventListener("pagehide", () => {
  rest();
  keepDraft();
  sessionStorage.setItem("drafts", JSON.stringify(drafts));
});
addEventListener("pageshow", wake);
addEventListener("visibilitychange", () => {
  restIfHidden();
  wake();
});
// The printed address, opened in a tab that shows this page already, changes nothing but the fragment.
addEventListener("hashchange", () => location.hash.startsWith("#token=") && location.reload());
addEventListener("popstate", () => {
  open(addressed());
});
addEventListener("keydown", (event) => {
  if (event.isComposing || event.keyCode === 229) return;
  const control = event.ctrlKey || event.metaKey;
  const menu = $("details.more[open]");
  if (event.key === "Escape" && (menu || state.asked)) {
    if (menu) menu.open = false;
    menu?.querySelector("summary").focus();
  } else if (event.key === "Escape" && state.menuOpen) {
    state.menuOpen = false;
    draw();
    queueMicrotask(() => $("header .menu").focus());
  } else if (event.key === "Escape" && state.running && !state.editing) {
    attempt(() => api.stop(state.key));
  } else if (control && event.key.toLowerCase() === "k") {
    event.preventDefault();
    state.menuOpen = true;
    draw();
    queueMicrotask(() => $("#search").focus());
  } else if (control && event.shiftKey && event.key.toLowerCase() === "o") {
    event.preventDefault();
    open(null, true).then(() => box().focus());
  }
});
addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (button) copy(button.closest("figure").querySelector("code").textContent, button);
  for (const menu of document.querySelectorAll("details.more[open]")) {
    if (!menu.contains(event.target) || event.target.closest("details.more > div")) menu.open = false;
  }
  if (state.menuOpen && !event.target.closest?.("#side, .menu, dialog")) {
    state.menuOpen = false;
    draw();
  }
});
let dragging = 0;
addEventListener("drawn", follow);
addEventListener("dragover", (event) => {
  event.preventDefault();
  clearTimeout(dragging);
  if (!event.dataTransfer?.types.includes("Files")) return;
  $("#drop").hidden = false;
  dragging = setTimeout(() => ($("#drop").hidden = true), 300);
});
addEventListener("drop", (event) => {
  event.preventDefault();
  $("#drop").hidden = true;
  const files = [...(event.dataTransfer?.files ?? [])];
  if (files.length) addFiles(files);
});

draw();
queueMicrotask(() => {
  restoreDraft();
  start();
});
