// GraphQL as a client speaks it: a POST with a document and its variables; a subscription as
// server-sent events. The answer's text is taken apart without a parser that rounds numbers.

import type { TSchema } from "@sinclair/typebox";
import { decode } from "../../src/api/decode.ts";
import { fromWire } from "../../src/api/errors.ts";
import { fromJson, toJson } from "../../src/api/json.ts";
import { operations } from "../../src/api/operations.ts";
import { canonicalize, splitMembers, type Canonical } from "../../src/model/canonical.ts";
import { EventRecord } from "../../src/model/event.ts";
import { eventsIn } from "./surfaces-sse.ts";
import {
  withStatus,
  type Caller,
  type Connected,
  type Connection,
  type Surface,
} from "./surfaces.ts";

export const graphqlSurface: Surface = {
  name: "graphql",
  lacks: {},
  withoutToken: "unauthorized",
  connect,
};

const record = `{ aggregate_type aggregate_id event_type payload version hash merkle_root position
  metadata { event_id created_at issued_by { group user } note } }`;
const aggregate = "{ aggregate_type aggregate_id version state merkle_root archived }";

interface Root {
  readonly kind: "query" | "mutation" | "subscription";
  readonly field: string;
  /** Its arguments with their types. */
  readonly args: Readonly<Record<string, string>>;
  readonly selection: string;
}

const key = { aggregate_type: "String!", aggregate_id: "String!" };
const page = { skip: "Int", take: "Int" };
const selection = { aggregate_type: "String", aggregate_id: "String", event_type: "String" };
const include_hidden = "Boolean";

const roots = {
  appendEvent: {
    ...{ kind: "mutation", field: "appendEvent", selection: record },
    args: { input: "AppendEventInput!" },
  },
  appendEvents: {
    ...{ kind: "mutation", field: "appendEvents", selection: record },
    args: { input: "AppendEventsInput!" },
  },
  listAggregates: {
    ...{ kind: "query", field: "aggregates_page" },
    selection: `{ aggregates ${aggregate} next_cursor }`,
    args: {
      ...{ ...page, cursor: "String", type: "String", archived: "Boolean", filter: "String" },
      ...{ at: "String", include_hidden },
    },
  },
  getAggregate: {
    ...{ kind: "query", field: "aggregate", selection: aggregate },
    args: { ...key, version: "Long", at: "String", include_hidden },
  },
  listEvents: {
    ...{ kind: "query", field: "aggregateEvents", selection: record },
    args: { ...key, ...page, include_hidden },
  },
  readLog: {
    ...{ kind: "query", field: "events", selection: record },
    args: { after: "Long", take: "Int", ...selection, include_hidden },
  },
  verifyAggregate: {
    ...{ kind: "query", field: "verifyAggregate" },
    selection: "{ aggregate_type aggregate_id version merkle_root erased }",
    args: { ...key, include_hidden },
  },
  follow: {
    ...{ kind: "subscription", field: "eventAppended", selection: record },
    args: { after: "Long", ...selection, include_hidden },
  },
} as const satisfies Record<string, Root>;

/** As text, because payloads stand in it as they were written. */
function requestText(root: Root, variables: string): string {
  const names = Object.keys(root.args);
  const declared = names.map((name) => `$${name}: ${root.args[name]}`).join(", ");
  const given = names.map((name) => `${name}: $${name}`).join(", ");
  const { kind, field } = root;
  const query = `${kind} (${declared}) { ${field}(${given}) ${root.selection} }`;
  return `{"query":${JSON.stringify(query)},"variables":${variables}}`;
}

function connect({ port }: Connection): Connected {
  const post = (token: string | null, body: string, more: RequestInit = {}) =>
    fetch(`http://127.0.0.1:${port}/graphql`, {
      method: "POST",
      body,
      ...more,
      headers: {
        "Content-Type": "application/json",
        ...(token === null ? {} : { Authorization: `Bearer ${token}` }),
        ...more.headers,
      },
    });
  return {
    as(token): Caller {
      const ask = async <Schema extends TSchema>(root: Root, variables: string, schema: Schema) => {
        const response = await post(token, requestText(root, variables));
        return answerIn(await response.text(), { root, schema, status: response.status });
      };
      const { appendEvent, appendEvents, listAggregates, getAggregate } = operations;
      const { listEvents, readLog, verifyAggregate } = operations;
      return {
        appendEvent: (event) =>
          ask(
            roots.appendEvent,
            `{"input":${toJson(appendEvent.input, event)}}`,
            appendEvent.output,
          ),
        appendEvents: (batch) =>
          ask(
            roots.appendEvents,
            `{"input":${toJson(appendEvents.input, batch)}}`,
            appendEvents.output,
          ),
        listAggregates: (input) =>
          ask(roots.listAggregates, JSON.stringify(input), listAggregates.output),
        getAggregate: (input) =>
          ask(roots.getAggregate, JSON.stringify(input), getAggregate.output),
        listEvents: (input) => ask(roots.listEvents, JSON.stringify(input), listEvents.output),
        readLog: (input) => ask(roots.readLog, JSON.stringify(input), readLog.output),
        verifyAggregate: (input) =>
          ask(roots.verifyAggregate, JSON.stringify(input), verifyAggregate.output),
        async *follow(input, signal) {
          const body = requestText(roots.follow, JSON.stringify(input));
          const headers = { Accept: "text/event-stream" };
          const response = await post(token, body, { signal, headers });
          const { status } = response;
          const expected = { root: roots.follow, schema: EventRecord, status };
          const type = response.headers.get("content-type") ?? "";
          // What is refused before it begins is answered like everything else.
          if (!type.startsWith("text/event-stream")) {
            throw new Error(`no stream: ${answerIn(await response.text(), expected)}`);
          }
          for await (const { event, text } of eventsIn(response, { signal })) {
            if (event === "next") yield answerIn(text, expected);
          }
        },
      };
    },
    close: async () => {},
  };
}

/** What stands under the field, decoded; the first error, as it was thrown, where there is one. */
function answerIn<Schema extends TSchema>(
  text: string,
  { root, schema, status }: { root: Root; schema: Schema; status: number },
) {
  const { field } = root;
  // Payloads may be deep, and whatever is around them is not what is looked at here.
  const answer = membersOf(canonicalize(text, { envelope: 8 }));
  const errors = answer.get("errors");
  if (errors !== undefined) throw withStatus(status, errorIn(errors));
  const value = membersOf(answer.get("data")).get(field);
  if (value === undefined) throw new Error(`no ${field} in ${text}`);
  const output = withoutNull(fromJson(schema, value));
  for (const exact of exactIn(output)) {
    // As it was sent, byte for byte, and not only after we made it canonical.
    if (!text.includes(exact)) throw new Error(`not canonical: ${exact} in ${text}`);
  }
  return decode(schema, output);
}

const membersOf = (text: Canonical | undefined): Map<string, Canonical> =>
  new Map(text === undefined || !text.startsWith("{") ? [] : splitMembers(text));

function errorIn(errors: string): Error {
  const [first] = JSON.parse(errors);
  const { message, extensions } = first;
  return fromWire({ message, ...extensions }) ?? new Error(`no error of ours: ${errors}`);
}

/** GraphQL has no absent members: a note that is not there comes as null. */
function withoutNull(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNull);
  if (typeof value !== "object" || value === null || !("metadata" in value)) return value;
  const { note, ...metadata } = value.metadata as { note?: unknown };
  return { ...value, metadata: note === null ? metadata : { ...metadata, note } };
}

/** Every payload and state of an answer, as text with its name before it. */
function exactIn(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(exactIn);
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) =>
    name === "payload" || name === "state" ? [`"${name}":${inner}`] : exactIn(inner),
  );
}
