// The OpenAPI document as a page: each endpoint with its parameters and the form of its answer.

import { ask } from "./api.js";
import { h } from "./dom.js";

const main = document.querySelector("main");

const METHODS = ["get", "post", "put", "patch", "delete"];

function named(schema) {
  return schema?.$ref?.split("/").pop() ?? null;
}

/** A schema in a few words: `list of Node`, `text or unknown`. */
function words(schema) {
  if (!schema) return "anything";
  const name = named(schema);
  if (name) return h("a", { href: `#${name}` }, name);
  if (schema.enum) return schema.enum.map((one) => (one === null ? "unknown" : `“${one}”`)).join(", ");
  if (schema.anyOf) return h("span", {}, ...schema.anyOf.flatMap((one, at) => [at ? " or " : "", words(one)]));
  if (schema.type === "array") return h("span", {}, "list of ", words(schema.items));
  if (schema.type === "object" && schema.additionalProperties) return h("span", {}, "map to ", words(schema.additionalProperties));
  return { string: "text", integer: "whole number", number: "number", boolean: "yes or no", null: "unknown", object: "object" }[schema.type] ?? "anything";
}

/** `code` and *stress* of Markdown; no more of it is used. */
function marked(text) {
  return text.split(/(`[^`]+`|\*[^*]+\*)/).map((part) => {
    if (part.length > 2 && part.startsWith("`")) return h("code", {}, part.slice(1, -1));
    if (part.length > 2 && part.startsWith("*")) return h("em", {}, part.slice(1, -1));
    return part;
  });
}

function paragraphs(text) {
  return (text ?? "").split(/\n\s*\n/).filter(Boolean).map((one) => h("p", {}, ...marked(one.replace(/\s+/g, " "))));
}

function endpoint(path, method, operation) {
  const [, body] = Object.entries(operation.responses).find(([status]) => status.startsWith("2")) ?? [];
  const [media, content] = Object.entries(body?.content ?? {})[0] ?? ["nothing", {}];
  const rows = (operation.parameters ?? []).map((one) => h("tr", {}, h("td", { "data-head": "Parameter" }, h("code", {}, one.name)), h("td", { "data-head": "In" }, one.in), h("td", { "data-head": "Form" }, words(one.schema)), h("td", { "data-head": "Meaning" }, one.description ?? "")));
  const heads = ["Parameter", "In", "Form", "Meaning"].map((one) => h("th", { scope: "col" }, one));
  const request = operation.requestBody?.content?.["application/json"]?.schema;
  return h(
    "details", { class: "card endpoint" },
    h("summary", {}, h("span", { class: `method ${method}` }, method.toUpperCase()), h("code", {}, path), h("span", {}, operation.summary ?? "")),
    ...paragraphs(operation.description),
    rows.length ? h("table", {}, h("caption", { class: "hidden" }, "Parameters"), h("thead", {}, h("tr", {}, ...heads)), h("tbody", {}, ...rows)) : null,
    request ? h("p", {}, "Takes ", words(request)) : null,
    h("p", {}, "Answers ", words(content.schema), ` as ${media}`),
    h("ul", {}, ...Object.entries(operation.responses).filter(([status]) => !status.startsWith("2")).map(([status, one]) => h("li", {}, h("code", {}, status), ` ${one.description ?? ""}`))),
  );
}

function shape(name, schema) {
  const fields = Object.entries(schema.properties ?? {}).map(([field, one]) => h("div", {}, h("dt", {}, h("code", {}, field)), h("dd", {}, words(one))));
  return h("section", { class: "card shape", id: name }, h("h3", {}, name), ...paragraphs(schema.description), h("dl", { class: "pairs" }, ...fields));
}

async function run() {
  let document_;
  try {
    document_ = await ask("/v1/openapi.json");
  } catch (failed) {
    main.replaceChildren(h("p", { class: "empty" }, failed.message));
    return;
  }
  const groups = new Map();
  for (const [path, item] of Object.entries(document_.paths)) {
    for (const method of METHODS.filter((one) => item[one])) {
      const group = item[method].tags?.[0] ?? "more";
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push(endpoint(path, method, item[method]));
    }
  }
  main.replaceChildren(
    h("h1", {}, `${document_.info.title} ${document_.info.version}`),
    ...paragraphs(document_.info.description),
    ...[...groups].map(([name, rows]) => h("section", { "aria-label": name }, h("h2", {}, name), ...rows)),
    h("h2", {}, "forms"),
    ...Object.entries(document_.components.schemas).map(([name, schema]) => shape(name, schema)),
  );
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

run();
