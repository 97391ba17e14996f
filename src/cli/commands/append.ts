// `dbx aggregate apply` and `dbx aggregate create`.

import { createReadStream } from "node:fs";
import { Type } from "@sinclair/typebox";
import { toJson } from "../../api/json.ts";
import { canonicalize, canonicalOf, decodeUtf8, type Canonical } from "../../model/canonical.ts";
import { Aggregate } from "../../model/aggregate.ts";
import { DbxError, invalidArgument, tooLarge } from "../../model/error.ts";
import { EventRecord, type Event } from "../../model/event.ts";
import { limits } from "../../model/limits.ts";
import { StagedEvent } from "../../model/staged.ts";
import { ExpectedVersion } from "../../model/stream.ts";
import { command } from "../command.ts";
import { afterDoing } from "../output.ts";
import { requireFiles, type Shell } from "../shell.ts";
import { asking, callFlags, keyFlags, strict } from "./key-flags.ts";

export const apply = command({
  summary: "Append one event.",
  about:
    "Prints the event as it was recorded, in JSON. Values of --field are strings; --payload takes any\n" +
    "JSON, and numbers in it are kept exactly as written. --stage checks the event now and queues it.",
  flags: Type.Object(
    {
      ...keyFlags,
      event: Type.String({ hint: "name", member: "event_type", description: "What happened." }),
      field: Type.Optional(
        Type.Array(Type.String(), {
          hint: "KEY=VALUE",
          description: "One member of the payload, a string; repeated for more members.",
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
      stage: Type.Optional(
        Type.Boolean({ description: "Queue it for dbx aggregate commit instead of appending." }),
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
    const payload = await payloadOf(flags, shell);
    const { note, event_id, expected_version, token } = flags;
    const event: Event = {
      aggregate_type: flags.aggregate,
      aggregate_id: flags.aggregate_id,
      event_type: flags.event,
      payload,
      ...(note === undefined ? {} : { note }),
      ...(event_id === undefined ? {} : { event_id }),
      ...(expected_version === undefined ? {} : { expected_version }),
    };
    await (flags.stage === true ? stage : append)(event, { shell, token });
  },
});

interface Caller {
  readonly shell: Shell;
  readonly token: string | undefined;
}

async function append(event: Event, { shell, token }: Caller): Promise<void> {
  const record = await asking({ shell, access: "write", token }, ({ ask }) =>
    ask("appendEvent", event),
  );
  const { position, metadata } = record;
  const words = `the event is recorded at position ${position}`;
  await afterDoing(
    { words, details: { position, event_id: metadata.event_id } },
    shell.output.jsonText(toJson(EventRecord, record)),
  );
}

async function stage(event: Event, { shell, token }: Caller): Promise<void> {
  const { output } = shell;
  const staged = await asking({ shell, access: "write", token }, ({ ask }) =>
    ask("stageEvent", event),
  );
  const words = "event staged for later commit";
  await afterDoing(
    { words, details: { event_id: staged.event_id } },
    output.json ? output.jsonText(toJson(StagedEvent, staged)) : output.data(words),
  );
}

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
    await afterDoing(
      { words: "the aggregate is made", details: { aggregate_type, aggregate_id } },
      shell.output.jsonText(canonicalize(toJson(Aggregate, made))),
    );
  },
});

interface PayloadFlags {
  readonly field?: readonly string[];
  readonly payload?: string;
}

export async function payloadOf(
  { field, payload }: PayloadFlags,
  shell: Pick<Shell, "reach">,
): Promise<Canonical> {
  if (payload === undefined) {
    if (field !== undefined) return fieldsOf(field);
    // A forgotten flag must not become an event without content.
    throw invalidArgument(
      "neither --payload nor --field is given; an empty payload is --payload '{}'",
      { flag: "--payload" },
    );
  }
  if (field !== undefined) {
    throw invalidArgument("--payload cannot be used together with --field", { flag: "--payload" });
  }
  const text = await textOf(payload, { shell, flag: "--payload" });
  try {
    return canonicalize(text);
  } catch (cause) {
    if (!(cause instanceof DbxError)) throw cause;
    throw invalidArgument(`--payload is not valid JSON: ${cause.message}`, cause.details, {
      cause,
    });
  }
}

/** JSON text as it is, or what the file or stdin holds. */
export async function textOf(
  word: string,
  { shell, flag }: { shell: Pick<Shell, "reach">; flag: string },
): Promise<string> {
  if (word !== "-" && !word.startsWith("@")) return word;
  requireFiles(shell, `${flag} ${word}`);
  if (word === "-") return boundedText(Bun.stdin.stream(), "stdin");
  const path = word.slice(1);
  if (path === "") throw invalidArgument(`${flag} @ needs the name of a file after it`, { flag });
  return boundedText(createReadStream(path), path);
}

const readFaults: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EISDIR: "it is a directory",
  EACCES: "its mode does not let you",
  ENOTDIR: "a part of its path is no directory",
};

/** The largest payload with every byte written as an escape of six characters. */
const text_bytes_max = limits.payload_bytes_max * 6;

/** Stops at the bound instead of filling the memory: a device or a pipe may have no end. */
async function boundedText(source: AsyncIterable<Uint8Array>, name: string): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of source) {
      length += chunk.length;
      if (length > text_bytes_max) break;
      chunks.push(chunk);
    }
  } catch (cause) {
    const reason = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    const why = Object.hasOwn(readFaults, reason) ? `${readFaults[reason]} (${reason})` : reason;
    throw invalidArgument(`cannot read ${name}: ${why}`, { path: name, reason }, { cause });
  }
  if (length > text_bytes_max) {
    throw tooLarge(`--payload is larger than ${text_bytes_max} bytes`, {
      bytes_max: text_bytes_max,
    });
  }
  return decodeUtf8(Buffer.concat(chunks));
}

/** Split at the first `=`. A repeated key is a slip: nobody knows which value was meant. */
function fieldsOf(fields: readonly string[]): Canonical {
  const keys = new Set<string>();
  const members = fields.map((field) => {
    const at = field.indexOf("=");
    if (at === -1) {
      throw invalidArgument(`--field must be KEY=VALUE; it is ${JSON.stringify(field)}`, {
        flag: "--field",
      });
    }
    const key = field.slice(0, at).trim();
    if (key === "") throw invalidArgument("field key cannot be empty", { flag: "--field" });
    if (keys.has(key)) {
      const shown = JSON.stringify(key);
      throw invalidArgument(`--field ${shown} is given twice`, { flag: "--field" });
    }
    keys.add(key);
    return [key, field.slice(at + 1)];
  });
  return canonicalOf(Object.fromEntries(members));
}
