// The API as the pages use it, and the few ways in which they put text on the screen.

const DEADLINE = 15000;

// What a screen would obey instead of showing: controls, and marks that turn the direction of text.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** The text of a GET. Throws Refused, or what fetch throws. */
export async function getText(path) {
  const token = sessionStorage.getItem("token");
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, { headers, signal: AbortSignal.timeout(DEADLINE) });
  const text = await response.text();
  if (!response.ok) throw new Refused(response.status, problem(text) || response.statusText);
  return text;
}

export async function get(path) {
  return JSON.parse(await getText(path));
}

function problem(text) {
  try {
    return JSON.parse(text).detail;
  } catch {
    return "";
  }
}

/** Shows why something failed; where the token is missing or wrong, asks for it. */
export function explain(error, again) {
  const login = document.getElementById("login");
  login.hidden = error.status !== 401;
  login.onsubmit = (event) => {
    event.preventDefault();
    sessionStorage.setItem("token", document.getElementById("token").value.trim());
    login.reset();
    login.hidden = true;
    again();
  };
  const expected = error.status === 401 && !sessionStorage.getItem("token");
  say(expected ? "" : error instanceof Refused ? error.message : "the gateway cannot be reached", true);
}

export function say(text, failed = false) {
  const status = document.getElementById("status");
  status.textContent = visible(text);
  status.classList.toggle("failed", failed);
}

/** What peers have sent, harmless to the eye; it goes on the screen through textContent alone. */
export function visible(text) {
  return String(text ?? "").replace(UNSEEN, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));
}

/** An element with a class and text. */
export function element(name, text = "", kind = "") {
  const made = document.createElement(name);
  made.textContent = visible(text);
  if (kind) made.className = kind;
  return made;
}
