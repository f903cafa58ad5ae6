// The first view: who is here, and what passed last.

import { element, explain, get, getText, say, visible } from "/static/api.js";

const EVERY = 2000;
const CHARGERS_EVERY = 3; // rounds; there may be many, and they change less
const ROWS = 50;
const MOST_CHARGERS = 500;

const bodies = { chargers: document.getElementById("chargers"), traffic: document.getElementById("traffic") };
const dialog = document.getElementById("exchange");
let newest = null; // the greatest id that is on the screen
let rounds = 0;
let timer = 0;
let busy = false; // two at once would show messages twice

async function refresh() {
  if (busy) return;
  busy = true;
  clearTimeout(timer);
  try {
    if (rounds++ % CHARGERS_EVERY === 0) showChargers((await get("/api/v1/chargers")).chargers);
    await refreshTraffic();
    say("");
  } catch (error) {
    rounds = 0;
    explain(error, refresh);
    if (error.status === 401) return;
  } finally {
    busy = false;
  }
  if (!document.hidden) timer = setTimeout(refresh, EVERY);
}

async function refreshTraffic() {
  let messages = newest === null ? null : (await get(`/api/v1/traffic?limit=${ROWS}&after=${newest}`)).messages;
  if (messages === null || messages.length === ROWS) {
    // More may have passed than fits on the screen: begin with the newest again, so as not to fall behind.
    messages = (await get(`/api/v1/traffic?limit=${ROWS}`)).messages;
    bodies.traffic.replaceChildren();
  }
  for (const message of messages) {
    bodies.traffic.prepend(messageRow(message));
    newest = Math.max(newest ?? 0, message.id);
  }
  while (bodies.traffic.rows.length > ROWS) bodies.traffic.lastElementChild.remove();
  document.getElementById("traffic-empty").hidden = bodies.traffic.rows.length > 0;
}

// --- chargers

function showChargers(chargers) {
  bodies.chargers.replaceChildren(...chargers.slice(0, MOST_CHARGERS).map(chargerRow));
  const more = chargers.length > MOST_CHARGERS ? `, the first ${MOST_CHARGERS} shown` : "";
  document.getElementById("chargers-count").textContent = chargers.length ? `${chargers.length}${more}` : "";
  document.getElementById("chargers-empty").hidden = chargers.length > 0;
}

function chargerRow(charger) {
  const row = document.createElement("tr");
  row.append(
    element("td", charger.identity, "name"),
    element("td", charger.state, `state ${charger.state === "gone" ? "gone" : "here"}`),
    element("td", `${charger.wire} ${charger.version}`),
    element("td", time(charger.lastSeen)),
    element("td", charger.registration),
    element("td", charger.vendor),
    element("td", charger.model),
    element("td", charger.firmware),
    element("td", charger.peer),
  );
  return row;
}

// --- traffic

function messageRow(message) {
  const row = document.createElement("tr");
  const open = element("button", time(message.at), "link");
  open.setAttribute("aria-label", "Show the exchange");
  const cell = document.createElement("td");
  cell.append(open);
  row.append(
    cell,
    element("td", arrow(message)),
    element("td", message.charger, "name"),
    element("td", message.leg),
    element("td", `${message.wire} ${message.version}`),
    element("td", message.action),
    element("td", message.outcome || message.kind, failed(message) ? "failed" : ""),
    element("td", milliseconds(message.latencyMs), "number"),
    element("td", [...new Set(message.remarks.map((remark) => remark.kind))].join(" "), "remark"),
  );
  row.addEventListener("click", () => showExchange(message.id));
  return row;
}

async function showExchange(id) {
  try {
    const text = await getText(`/api/v1/traffic/${id}`);
    const found = JSON.parse(text);
    const exact = parseExactly(text);
    document.getElementById("exchange-heading").textContent = visible(`Exchange ${found.exchange}`);
    const shown = found.messages.map((message, i) => messageView(message, exact.messages[i].canonical));
    document.getElementById("messages").replaceChildren(...shown);
    dialog.showModal();
  } catch (error) {
    explain(error, refresh);
  }
}

/** Numbers keep their digits (1.50 is not 1.5), where the browser can do it. */
function parseExactly(text) {
  if (!JSON.rawJSON) return JSON.parse(text);
  return JSON.parse(text, (_, value, context) =>
    typeof value === "number" && context ? JSON.rawJSON(context.source) : value,
  );
}

function messageView(message, canonical) {
  const view = document.createElement("article");
  const heading = [time(message.at), arrow(message), message.leg, `${message.wire} ${message.version}`, message.action];
  view.append(
    element("h3", [...heading, message.outcome || message.kind, milliseconds(message.latencyMs)].filter(Boolean).join("  ")),
    element("h4", message.rawBase64 === undefined ? "Raw" : "Raw, in base64"),
    element("pre", message.raw ?? message.rawBase64),
  );
  if (canonical !== null) view.append(element("h4", "Canonical"), element("pre", JSON.stringify(canonical, null, 2)));
  if (message.remarks.length) view.append(element("h4", "Remarks"), remarkList(message.remarks));
  if (message.note) view.append(element("p", message.note, failed(message) ? "failed" : ""));
  return view;
}

function remarkList(remarks) {
  const list = document.createElement("ul");
  for (const remark of remarks) {
    const item = element("li", ` ${remark.path}: ${remark.detail} (${remark.rule})`);
    item.prepend(element("b", remark.kind, "remark"));
    list.append(item);
  }
  return list;
}

function failed(message) {
  return ["error", "refused"].includes(message.kind) || !["", "ok"].includes(message.outcome);
}

function arrow(message) {
  return message.direction === "in" ? "←" : "→";
}

function milliseconds(value) {
  return value === null ? "" : `${value.toFixed(1)} ms`;
}

function time(iso) {
  if (!iso) return "";
  const at = new Date(iso);
  const today = at.toDateString() === new Date().toDateString();
  const clock = at.toLocaleTimeString("en-GB") + "." + String(at.getMilliseconds()).padStart(3, "0");
  return today ? clock : `${at.toLocaleDateString("en-CA")} ${clock}`;
}

dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : refresh()));
refresh();
