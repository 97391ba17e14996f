// `dbx aggregate apply` and `dbx aggregate create`.

import { readFile } from "node:fs/promises";
import { Type } from "@sinclair/typebox";
import { toJson } from "../../api/json.ts";
import { canonicalize, canonicalOf, decodeUtf8, type Canonical } from "../../model/canonical.ts";
import { Aggregate } from "../../model/aggregate.ts";
import { DbxError, invalidArgument, notFound } from "../../model/error.ts";
import { EventRecord } from "../../model/event.ts";
import { ExpectedVersion } from "../../model/stream.ts";
import { command } from "../command.ts";
import { asking, callFlags, keyFlags, strict } from "./key-flags.ts";

export const apply = command({
  summary: "Append one event.",
  about:
    "Prints the event as it was recorded, in JSON. Values of --field are strings; --payload takes any\n" +
    "JSON, and numbers in it are kept exactly as written.",
  flags: Type.Object(
    {
      ...keyFlags,
      event: Type.String({ hint: "name", member: "event_type", description: "What happened." }),
      field: Type.Optional(
        Type.Array(Type.String(), {
          hint: "KEY=VALUE",
          description: "One member of the payload, a string; may be repeated.",
        }),
      ),
      payload: Type.Optional(
        Type.String({
          hint: "json|@file|-",
          description: "The payload: JSON text, a file that holds it, or `-` for stdin.",
        }),
      ),
      note: Type.Optional(Type.String({ description: "A remark kept beside the payload." })),
      event_id: Type.Optional(
        Type.String({
          hint: "uuid",
          description: "An id of your own: sending the same event again appends nothing.",
        }),
      ),
      expected_version: Type.Optional(
        Type.Union([...ExpectedVersion.anyOf], {
          hint: "n|any|no_stream|stream_exists",
          description: "Append only if the aggregate is at this version.",
        }),
      ),
      ...callFlags,
    },
    strict,
  ),
  words: ["aggregate", "aggregate_id", "event"],
  examples: [
    'dbx aggregate apply person p-002 patient-added --field name="Jane Doe" --field status=active',
    "dbx aggregate apply --aggregate person --aggregate-id p-002 --event renamed --payload @new.json",
    'dbx aggregate apply person p-002 renamed --expected-version 1 --payload \'{"name":"Jo"}\'',
  ],
  run: async (flags, shell) => {
    const payload = await payloadOf(flags);
    const { note, event_id, expected_version, token } = flags;
    const record = await asking({ shell, access: "write", token }, ({ ask }) =>
      ask("appendEvent", {
        aggregate_type: flags.aggregate,
        aggregate_id: flags.aggregate_id,
        event_type: flags.event,
        payload,
        ...(note === undefined ? {} : { note }),
        ...(event_id === undefined ? {} : { event_id }),
        ...(expected_version === undefined ? {} : { expected_version }),
      }),
    );
    await shell.output.jsonText(toJson(EventRecord, record));
  },
});

export const create = command({
  summary: "Make an aggregate without events.",
  flags: Type.Object({ ...keyFlags, ...callFlags }, strict),
  words: ["aggregate", "aggregate_id"],
  examples: ["dbx aggregate create person p-003"],
  run: async (flags, shell) => {
    const { aggregate: aggregate_type, aggregate_id, token } = flags;
    const made = await asking({ shell, access: "write", token }, ({ ask }) =>
      ask("createAggregate", { aggregate_type, aggregate_id }),
    );
    await shell.output.jsonText(canonicalize(toJson(Aggregate, made)));
  },
});

interface PayloadFlags {
  readonly field?: readonly string[];
  readonly payload?: string;
}

async function payloadOf({ field, payload }: PayloadFlags): Promise<Canonical> {
  if (payload === undefined) return fieldsOf(field ?? []);
  if (field !== undefined) {
    throw invalidArgument("--payload cannot be used together with --field", { flag: "--payload" });
  }
  const text = await textOf(payload);
  try {
    return canonicalize(text);
  } catch (cause) {
    if (!(cause instanceof DbxError)) throw cause;
    throw invalidArgument(`--payload is not valid JSON: ${cause.message}`, cause.details, {
      cause,
    });
  }
}

async function textOf(payload: string): Promise<string> {
  if (payload === "-") return decodeUtf8(await Bun.stdin.bytes());
  if (!payload.startsWith("@")) return payload;
  const path = payload.slice(1);
  try {
    return decodeUtf8(await readFile(path));
  } catch (cause) {
    if (cause instanceof DbxError) throw cause;
    throw notFound(`cannot read ${path}`, { path });
  }
}

/** Split at the first `=`; the last of a repeated key wins. */
function fieldsOf(fields: readonly string[]): Canonical {
  const members = fields.map((field) => {
    const at = field.indexOf("=");
    if (at === -1) {
      throw invalidArgument(`--field must be KEY=VALUE; it is ${JSON.stringify(field)}`, {
        flag: "--field",
      });
    }
    const key = field.slice(0, at).trim();
    if (key === "") throw invalidArgument("field key cannot be empty", { flag: "--field" });
    return [key, field.slice(at + 1)];
  });
  return canonicalOf(Object.fromEntries(members));
}
