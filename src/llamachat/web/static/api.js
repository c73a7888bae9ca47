// The server's calls. Every change is JSON from the page's own origin; the cookie is the key.

/** An error that the server put into words. */
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function call(method, path, body) {
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Refused("", 0);
  }
  const said = response.headers.get("Content-Type")?.includes("json") ? await response.json() : null;
  if (!response.ok) throw new Refused(said?.error ?? `HTTP ${response.status}`, response.status);
  return said;
}

const id = encodeURIComponent;

export const signIn = (token) => call("POST", "/api/sign-in", { token });
export const about = () => call("GET", "/api/about");
export const templates = (lang) => call("GET", `/api/templates?lang=${lang}`);
export const list = (query = "") => call("GET", `/api/conversations?query=${id(query)}`);
export const create = () => call("POST", "/api/conversations", {});
export const load = (key) => call("GET", `/api/conversations/${id(key)}`);
export const change = (key, changes) => call("PATCH", `/api/conversations/${id(key)}`, changes);
export const remove = (key) => call("DELETE", `/api/conversations/${id(key)}`, {});
export const turn = (key, wanted) => call("POST", `/api/conversations/${id(key)}/turns`, wanted);
export const stop = (key) => call("POST", `/api/conversations/${id(key)}/stop`, {});
export const importFile = (text) => call("POST", "/api/import", { text });
export const exportUrl = (key, format) => `/api/conversations/${id(key)}/export?format=${format}`;

export async function attach(key, file) {
  const data = await file.arrayBuffer();
  let binary = "";
  const bytes = new Uint8Array(data);
  for (let i = 0; i < bytes.length; i += 0x8000) binary += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return call("POST", `/api/conversations/${id(key)}/files`, { name: file.name, data: btoa(binary) });
}

/** Follow the events of a conversation after `from`; `handle` gets each. Call what is returned to leave. */
export function follow(key, from, handle, lost) {
  const source = new EventSource(`/api/conversations/${id(key)}/events?after=${from}`);
  source.onmessage = (message) => handle(JSON.parse(message.data), Number(message.lastEventId));
  source.onerror = () => lost(source.readyState === EventSource.CLOSED);
  source.onopen = () => lost(null);
  return () => source.close();
}
