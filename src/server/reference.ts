// The reference page, made from the OpenAPI document alone. It has no script and loads nothing, so
// that it works without a network, and a token is never typed into a page.

import type { DocumentedOperation, OpenApi, Parameter } from "../api/openapi/document.ts";
import type { JsonSchema } from "../api/openapi/schemas.ts";
import { style } from "./reference-style.ts";

/** Nothing may be loaded, run, sent or framed; of what is inline, only the one style counts. */
export const contentPolicy =
  "default-src 'none'; img-src data:; " +
  `style-src 'sha256-${Bun.SHA256.hash(style, "base64")}'; ` +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Text that is markup already. Everything else is escaped when it is put into some. */
interface Markup {
  readonly markup: string;
}
type Part = string | number | Markup | readonly Markup[];

function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Markup {
  return { markup: strings.reduce((text, next, at) => text + write(parts[at - 1] ?? "") + next) };
}

function write(part: Part): string {
  if (typeof part === "string" || typeof part === "number") return Bun.escapeHTML(part);
  return "markup" in part ? part.markup : part.map(({ markup }) => markup).join("");
}

/** Words of the tables: what stands between backticks is code, empty lines part paragraphs. */
const prose = (text: string): Markup[] =>
  text.split("`").map((part, at) => (at % 2 === 1 ? html`<code>${part}</code>` : html`${part}`));

const paragraphs = (text: string): Markup[] =>
  text.split("\n\n").map((paragraph) => html`<p>${prose(paragraph)}</p>`);

interface Entry {
  readonly path: string;
  readonly method: string;
  readonly operation: DocumentedOperation;
}

interface Group {
  readonly name: string;
  readonly description: string;
  readonly entries: readonly Entry[];
}

/** In: the document. Out: a page in HTML. */
export function renderReference(document: OpenApi): string {
  const { info, tags, paths, components } = document;
  const entries: Entry[] = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );
  const groups = tags.map((tag) => ({
    ...tag,
    entries: entries.filter(({ operation }) => operation.tags.includes(tag.name)),
  }));
  const { schemas, responses, securitySchemes } = components;
  const page = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${info.title} ${info.version}: API reference</title>
        <link rel="icon" href="data:," />
        ${styleElement}
      </head>
      <body>
        <a class="skip" href="#top">Skip to the reference</a>
        ${contentsOf({ info, groups, names: Object.keys(schemas) })}
        <main id="top">
          ${introduction(info)} ${callers(securitySchemes)} ${groups.map(sectionOf)}
          <section>
            <h2>Records</h2>
            ${Object.entries(schemas).map(recordArticle)}
          </section>
          <section id="errors">
            <h2>Errors</h2>
            <p>All have the shape <a href="#Error">Error</a>.</p>
            ${errorTable(responses)}
          </section>
        </main>
      </body>
    </html>`;
  return page.markup;
}

/** As it is: what it is made of is what the policy names by its hash. */
const styleElement: Markup = { markup: `<style>${style}</style>` };

const contentsOf = ({
  info,
  groups,
  names,
}: Pick<OpenApi, "info"> & { groups: readonly Group[]; names: readonly string[] }): Markup =>
  html`<nav aria-label="Contents">
    <a href="#top"><strong>${info.title}</strong> ${info.version}</a>
    ${groups.map(({ name, entries }) =>
      linksOf(
        name,
        entries.map(({ operation }) => operation.operationId),
      ),
    )}
    ${linksOf("Records", names)}
    <h2><a href="#errors">Errors</a></h2>
  </nav>`;

const linksOf = (title: string, names: readonly string[]): Markup =>
  html`<h2>${title}</h2>
    <ul>
      ${names.map((name) => html`<li><a href="#${name}">${name}</a></li>`)}
    </ul>`;

const introduction = (info: OpenApi["info"]): Markup =>
  html`<h1>${info.title} <small>${info.version}</small></h1>
    <p>${prose(info.description)}</p>
    <p>
      The same for programs: <a href="openapi.json">OpenAPI 3.1</a>. The examples use two variables:
    </p>
    <pre>${variables}</pre>`;

const variables = `export DBX=http://127.0.0.1:7070
export AUTH="Authorization: Bearer $EVENTDBX_TOKEN"`;

const callers = (schemes: OpenApi["components"]["securitySchemes"]): Markup =>
  html`<h2>Who asks</h2>
    ${table(
      ["Header", "What it holds"],
      Object.values(schemes).map(({ type, name, description }) => [
        html`<code>${type === "apiKey" ? String(name) : "Authorization: Bearer"}</code>`,
        html`${prose(String(description))}`,
      ]),
    )}`;

const sectionOf = ({ name, description, entries }: Group): Markup =>
  html`<section>
    <h2>${name}</h2>
    <p>${prose(description)}</p>
    ${entries.map(articleOf)}
  </section>`;

const recordArticle = ([name, schema]: [string, JsonSchema]): Markup =>
  html`<article id="${name}">
    <h3>${name}</h3>
    ${membersOf(schema)} ${exampleOf(schema)}
  </article>`;

const errorTable = (responses: Readonly<Record<string, JsonSchema>>): Markup =>
  table(
    ["Status", "Code, and when it comes"],
    Object.entries(responses).map(([name, { description }]) => [
      html`${name.replace("Error", "")}`,
      html`${paragraphs(String(description))}`,
    ]),
  );

/** The first cell of a row names it. */
const table = (head: readonly string[], rows: readonly (readonly Markup[])[]): Markup =>
  html`<div class="wide">
    <table>
      <thead>
        <tr>
          ${head.map((title) => html`<th scope="col">${title}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          ([name = html``, ...cells]) =>
            html`<tr>
              <th scope="row">${name}</th>
              ${cells.map((cell) => html`<td>${cell}</td>`)}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;

const nameCell = (name: string, required: boolean): Markup =>
  html`<code>${required ? name : `${name}?`}</code>`;

function articleOf({ path, method, operation }: Entry): Markup {
  const { operationId, summary, description, parameters, requestBody, responses } = operation;
  const shown = parameters.filter(({ name }) => name !== "X-Request-Id");
  const body = requestBody?.content["application/json"];
  return html`<article id="${operationId}">
    <h3>${summary}</h3>
    <p class="path"><span class="${method}">${method.toUpperCase()}</span> ${path}</p>
    <p class="soft">${prose(description)}</p>
    ${shown.length === 0 ? "" : parameterTable(shown)}
    ${
      body === undefined
        ? ""
        : html`<h4>Body</h4>
            ${membersOf(body.schema)}`
    }
    <h4>Request</h4>
    <pre>${curl({ path, method, operation })}</pre>
    <h4>Answers</h4>
    ${Object.entries(responses).map(answerOf)}
  </article>`;
}

const parameterTable = (parameters: readonly Parameter[]): Markup =>
  html`<h4>Parameters</h4>
    ${table(
      ["Name", "In", "Type", "Meaning"],
      parameters.map(({ name, in: place, required, description, schema }) => [
        nameCell(name, required),
        html`${place}`,
        typeOf(schema),
        html`${prose(description)}`,
      ]),
    )}`;

/** An answer in a line; what errors mean is said once, at the end of the page. */
function answerOf([status, response]: [string, JsonSchema]): Markup {
  if (typeof response["$ref"] === "string") return html` <a href="#errors">${status}</a>`;
  const contents = Object.entries(recordOf(response["content"]));
  return html`<strong>${status}</strong> ${prose(String(response["description"]))}
    ${contents.map(([type, content]) => html`${type}: ${typeOf(recordOf(recordOf(content)["schema"]))}. `)}
    <br />`;
}

/** How the request is made with curl. */
function curl({ path, method, operation }: Entry): string {
  const { parameters, requestBody, security } = operation;
  const example = ({ schema }: Parameter): string => {
    const [first] = Array.isArray(schema["examples"]) ? schema["examples"] : [];
    return String(first ?? "…");
  };
  const filled = path.replaceAll(/\{(\w+)\}/g, (whole, name) => {
    const parameter = parameters.find((each) => each.name === name);
    return parameter === undefined ? whole : example(parameter);
  });
  const body = requestBody?.content["application/json"].example;
  const verb = { get: "", post: body === undefined ? " -X POST" : "" }[method];
  return [
    `curl${verb ?? ` -X ${method.toUpperCase()}`} "$DBX${filled}"`,
    ...(security?.length === 0 ? [] : ['  -H "$AUTH"']),
    ...(body === undefined
      ? []
      : ['  -H "Content-Type: application/json"', `  -d '${JSON.stringify(body, null, 2)}'`]),
  ].join(" \\\n");
}

/** The members of an object as a table; of anything else its type. */
function membersOf(schema: JsonSchema): Markup {
  const properties = Object.entries(recordOf(schema["properties"]));
  if (properties.length === 0) return html`<p>${typeOf(schema)}</p>`;
  const required: readonly unknown[] = Array.isArray(schema["required"]) ? schema["required"] : [];
  const rows = properties.map(([name, member]) => {
    const inner = recordOf(member);
    const nested = inner["properties"] === undefined ? "" : membersOf(inner);
    return [
      nameCell(name, required.includes(name)),
      typeOf(inner),
      html`${prose(meaningOf(inner))} ${nested}`,
    ];
  });
  return table(["Member", "Type", "Meaning"], rows);
}

/** What a member means, which a member that may be null as well says in its choices. */
function meaningOf({ description, anyOf }: JsonSchema): string {
  if (typeof description === "string") return description;
  const choices: readonly unknown[] = Array.isArray(anyOf) ? anyOf : [];
  return choices.map((choice) => meaningOf(recordOf(choice))).find((words) => words !== "") ?? "";
}

function exampleOf(schema: JsonSchema): Markup {
  const [example] = Array.isArray(schema["examples"]) ? schema["examples"] : [];
  if (example === undefined) return html``;
  return html`<h4>Example</h4>
    <pre>${JSON.stringify(example, null, 2)}</pre>`;
}

/** A schema in a few words: `integer`, `array of Aggregate`, `"ok"`, `string or null`. */
function typeOf(schema: JsonSchema): Markup {
  const { $ref, type, items, anyOf } = schema;
  if (typeof $ref === "string") {
    const name = $ref.slice($ref.lastIndexOf("/") + 1);
    return html`<a href="#${name}">${name}</a>`;
  }
  if (Array.isArray(anyOf)) return joined(anyOf.map((choice) => typeOf(recordOf(choice))));
  if (Array.isArray(schema["enum"])) return joined(schema["enum"].map(literal));
  if (schema["const"] !== undefined) return literal(schema["const"]);
  if (type === "array") return html`array of ${typeOf(recordOf(items))}`;
  const values = recordOf(schema["additionalProperties"]);
  if (Object.keys(values).length > 0) return html`object of ${typeOf(values)} by name`;
  return html`${typeof type === "string" ? type : "any JSON"}`;
}

const literal = (value: unknown): Markup => html`<code>${JSON.stringify(value) ?? ""}</code>`;
const joined = (choices: readonly Markup[]): Markup =>
  html`${choices.map((choice, at) => html`${at === 0 ? "" : " or "}${choice}`)}`;

const recordOf = (value: unknown): JsonSchema =>
  typeof value === "object" && value !== null ? { ...value } : {};
