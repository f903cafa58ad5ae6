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
let busy = false; // two at once would show exchanges twice

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
  let exchanges = newest === null ? null : (await get(`/api/v1/traffic?limit=${ROWS}&after=${newest}`)).exchanges;
  if (exchanges === null || exchanges.length === ROWS) {
    // More may have passed than fits on the screen: begin with the newest again, so as not to fall behind.
    exchanges = (await get(`/api/v1/traffic?limit=${ROWS}`)).exchanges;
    bodies.traffic.replaceChildren();
  }
  for (const exchange of exchanges) {
    bodies.traffic.prepend(exchangeRow(exchange));
    newest = Math.max(newest ?? 0, exchange.id);
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

function exchangeRow(exchange) {
  const row = document.createElement("tr");
  const open = element("button", time(exchange.at), "link");
  open.setAttribute("aria-label", "Show the exchange");
  const cell = document.createElement("td");
  cell.append(open);
  const kinds = exchange.legs.flatMap((leg) => halves(leg).flatMap((half) => half.remarks.map((remark) => remark.kind)));
  row.append(
    cell,
    element("td", exchange.direction === "up" ? "←" : "→"),
    element("td", exchange.charger, "name"),
    element("td", exchange.action),
    element("td", exchange.outcome || "no answer", failed(exchange.outcome) ? "failed" : ""),
    element("td", milliseconds(exchange.latencyMs), "number"),
    element("td", exchange.legs.map(legName).join(", ")),
    element("td", [...new Set(kinds)].join(" "), "remark"),
  );
  row.addEventListener("click", () => showExchange(exchange.id));
  return row;
}

function halves(leg) {
  return [leg.call, leg.answer].filter(Boolean);
}

function legName(leg) {
  return [leg.name, leg.wire, leg.version, failed(leg.outcome) ? leg.outcome : ""].filter(Boolean).join(" ");
}

async function showExchange(id) {
  try {
    const text = await getText(`/api/v1/traffic/${id}`);
    const found = JSON.parse(text);
    const exact = parseExactly(text);
    document.getElementById("exchange-heading").textContent = visible(`${found.action || "Exchange"} ${found.charger}`);
    const shown = found.timeline.map((step) => {
      const place = found.legs.findIndex((leg) => leg.name === step.leg && leg.attempt === step.attempt);
      const which = ["received", "sent"].includes(step.step) ? "call" : "answer";
      return messageView(step, found.legs[place], which, exact.legs[place][which].canonical);
    });
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

function messageView(step, leg, which, canonical) {
  const half = leg[which];
  const view = document.createElement("article");
  const came = ["received", "answered"].includes(step.step);
  const refused = which === "call" && leg.refused;
  const outcome = which === "answer" || refused ? leg.outcome : "";
  const again = leg.attempt > 1 ? `attempt ${leg.attempt}` : "";
  const wire = [came ? "←" : "→", leg.name, `${leg.wire} ${leg.version}`];
  const heading = [time(half.at), ...wire, refused ? "refused" : step.step, again, outcome, milliseconds(step.latencyMs)];
  view.append(
    element("h3", heading.filter(Boolean).join("  ")),
    element("h4", half.rawBase64 === undefined ? "Raw" : "Raw, in base64"),
    element("pre", half.raw ?? half.rawBase64),
  );
  if (half.canonical !== null) view.append(element("h4", "Canonical"), element("pre", JSON.stringify(canonical, null, 2)));
  if (half.remarks.length) view.append(element("h4", "Remarks"), remarkList(half.remarks));
  if (half.note) view.append(element("p", half.note, failed(leg.outcome) ? "failed" : ""));
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

function failed(outcome) {
  return !["", "ok"].includes(outcome);
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
