// The description of the API, rendered from /api/openapi.json.

import { element, explain, get, say } from "/static/api.js";

async function show() {
  try {
    const description = await get("/api/openapi.json");
    document.getElementById("docs").replaceChildren(...doors(description), ...shapes(description));
    say("");
  } catch (error) {
    explain(error, show);
  }
}

function* doors(description) {
  yield element("p", description.info.description);
  for (const [path, item] of Object.entries(description.paths)) {
    for (const method of ["get", "post", "patch", "delete"].filter((name) => name in item)) {
      yield door(description, path, method, item[method], item.parameters ?? []);
    }
  }
}

function door(description, path, method, operation, shared) {
  const view = document.createElement("article");
  const heading = element("h2", ` ${path}`);
  heading.prepend(element("b", method.toUpperCase(), "method"));
  view.append(heading, element("p", operation.summary));
  if (operation.description) view.append(element("p", operation.description));
  const parameters = [...shared, ...(operation.parameters ?? [])].map((each) => resolved(description, each));
  if (parameters.length) view.append(table(["Parameter", "In", "Type", ""], parameters.map(parameterCells)));
  if (operation.requestBody) view.append(element("h4", "Body"), content(operation.requestBody));
  const answers = Object.entries(operation.responses).map(([status, each]) => [status, resolved(description, each)]);
  view.append(table(["Answer", "", "Content"], answers.map(answerCells)));
  return view;
}

function parameterCells(parameter) {
  return [parameter.name, parameter.in, typeOf(parameter.schema), parameter.description];
}

function answerCells([status, response]) {
  return [status, response.description, contentText(response.content)];
}

function content(body) {
  return element("p", [contentText(body.content), body.description].filter(Boolean).join(": "));
}

function contentText(content) {
  return Object.entries(content ?? {}).map(([kind, { schema }]) => `${kind} ${typeOf(schema)}`.trim()).join(", ");
}

function* shapes(description) {
  for (const [name, schema] of Object.entries(description.components.schemas)) {
    const view = document.createElement("article");
    view.append(element("h2", name), element("p", schema.description));
    const rows = Object.entries(schema.properties ?? {}).map(([key, each]) => [key, typeOf(each), each.description]);
    view.append(table(["Field", "Type", ""], rows));
    yield view;
  }
}

function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" ");
  if (schema.type === "array") return `list of ${typeOf(schema.items)}`;
  return [schema.type].flat().join(" or ");
}

function resolved(description, each) {
  if (!each.$ref) return each;
  return each.$ref.split("/").slice(1).reduce((found, key) => found[key], description);
}

function table(headings, rows) {
  const made = document.createElement("table");
  const head = made.createTHead().insertRow();
  head.append(...headings.map((text) => element("th", text)));
  const body = made.createTBody();
  for (const cells of rows) body.insertRow().append(...cells.map((text, i) => element("td", text, i ? "" : "name")));
  const scroll = element("div", "", "scroll");
  scroll.append(made);
  return scroll;
}

show();
