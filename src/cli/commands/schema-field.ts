// `dbx schema field` and `dbx schema validate`: the type and rules of one column, and an event
// tried against all of them.

import { Type, type Static } from "@sinclair/typebox";
import { fromJson } from "../../api/json.ts";
import { canonicalize } from "../../model/canonical.ts";
import { DbxError, invalidArgument } from "../../model/error.ts";
import { formats } from "../../model/schema/format.ts";
import { simpleNames } from "../../model/schema/type.ts";
import { command, flagName } from "../command.ts";
import { pairs } from "../output.ts";
import type { Shell } from "../shell.ts";
import { payloadOf, textOf } from "./append.ts";
import { asking, callFlags, strict } from "./key-flags.ts";
import { changeSchema, fieldFlag, nameFlag, tellSchema } from "./schema-flags.ts";

const texts = (description: string) =>
  Type.Optional(Type.Array(Type.String(), { hint: "text", description }));
const bound = (description: string) => Type.Optional(Type.String({ hint: "value", description }));
const length = (description: string) =>
  Type.Optional(
    Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, hint: "n", description }),
  );

/** The rules of one column. */
const rules = {
  type: Type.Optional(
    Type.String({
      hint: "word",
      choices: simpleNames,
      description:
        "integer, float, decimal(p,s), boolean, text, timestamp, date, json, binary or object.",
    }),
  ),
  required: Type.Optional(Type.Boolean({ description: "Every event must have it." })),
  contains: texts("A text that it must contain; repeated for more."),
  not_contains: texts("A text that it must not contain; repeated for more."),
  must_match: Type.Optional(
    Type.String({ hint: "field", description: "The field whose value it must have as well." }),
  ),
  regex: Type.Optional(
    Type.Array(Type.String(), {
      hint: "pattern",
      description: "A pattern (RE2) that must be found in it; repeated for more.",
    }),
  ),
  min_length: length("Characters of a text, or bytes of a binary, at least."),
  max_length: length("Characters of a text, or bytes of a binary, at most."),
  min: bound("The least number, time or day."),
  max: bound("The greatest number, time or day."),
  format: Type.Optional(
    Type.String({ hint: "word", choices: formats, description: "email, url or credit_card." }),
  ),
};
const Rules = Type.Object(rules);

export const field = command({
  summary: "Say what a field of payloads must look like.",
  about:
    "What is said replaces all that was said of the field before, but for the fields inside it. A field\n" +
    "inside another is named by its path: address.city.",
  flags: Type.Object(
    {
      aggregate: nameFlag,
      field: { ...fieldFlag, hint: "path" },
      ...rules,
      settings: Type.Optional(
        Type.String({
          hint: "json|@file|-",
          description: "Type and rules as in schemas.json, instead of the flags.",
        }),
      ),
      remove: Type.Optional(Type.Boolean({ description: "Take the field's type and rules away." })),
      ...callFlags,
    },
    strict,
  ),
  words: ["aggregate", "field"],
  examples: [
    "dbx schema field patient age --type integer --required --min 0 --max 150",
    "dbx schema field patient email --type text --format email --max-length 200",
    `dbx schema field patient address --settings '{"type":"object","properties":{"city":"text"}}'`,
    "dbx schema field patient address.city --remove",
  ],
  run: async (flags, shell) => {
    const { aggregate, field: path, settings, remove, token, json: _json, ...given } = flags;
    const column = await columnOf(given, { settings, remove, shell });
    const columns = Object.fromEntries([[path, column]]);
    const changed = await changeSchema({ shell, token }, { aggregate, columns });
    const told = column === null ? "removed" : pairs({ type: typeOf(column) });
    await tellSchema(shell, changed, `${pairs({ aggregate, field: path })} ${told}`);
  },
});

/** The column as the operation takes it; null for none. */
async function columnOf(
  given: Static<typeof Rules>,
  {
    settings,
    remove,
    shell,
  }: { settings: string | undefined; remove: boolean | undefined; shell: Shell },
): Promise<unknown> {
  const [rule] = Object.keys(given);
  const others = [
    ...(settings === undefined ? [] : ["--settings"]),
    ...(remove === true ? ["--remove"] : []),
    ...(rule === undefined ? [] : [`--${flagName(rule)}`]),
  ];
  const [flag, other] = others;
  if (other !== undefined)
    throw invalidArgument(`${flag} and ${other} exclude each other`, { flag });
  if (remove === true) return null;
  if (settings !== undefined) return settingsOf(settings, shell);
  if (given.type === undefined) {
    const message = "--type is missing; or say --settings or --remove";
    throw invalidArgument(message, { flag: "--type" });
  }
  return columnBy(given);
}

async function settingsOf(word: string, shell: Shell): Promise<unknown> {
  try {
    const text = await textOf(word, { shell, flag: "--settings" });
    return fromJson(undefined, canonicalize(text));
  } catch (cause) {
    if (!(cause instanceof DbxError) || cause.code !== "invalid_argument") throw cause;
    const message = `--settings is not valid JSON: ${cause.message}`;
    throw invalidArgument(message, cause.details, { cause });
  }
}

/** The flags in the words of the file. */
function columnBy(given: Static<typeof Rules>): Record<string, unknown> {
  const { type, required, contains, must_match, regex, format } = given;
  const { not_contains: does_not_contain, min_length, max_length, min, max } = given;
  const members = {
    ...{ type, required, contains, does_not_contain, must_match, regex, format },
    length: present({ min: min_length, max: max_length }),
    range: present({ min, max }),
  };
  return present(members) ?? {};
}

/** The members that were given; undefined where none was. */
function present(members: Record<string, unknown>): Record<string, unknown> | undefined {
  const given = Object.entries(members).filter(([, value]) => value !== undefined);
  return given.length === 0 ? undefined : Object.fromEntries(given);
}

/** The type alone, whichever form the column has. */
const typeOf = (column: unknown): unknown =>
  typeof column === "object" && column !== null && "type" in column ? column.type : column;

export const validate = command({
  summary: "Check an event against its schema without appending it.",
  about:
    "Without such a schema every event is fine. Whatever `restrict` says now is not looked at.",
  flags: Type.Object(
    {
      aggregate: nameFlag,
      event: Type.String({ hint: "name", description: "The event." }),
      payload: Type.String({
        hint: "json|@file|-",
        description: "The payload: JSON text, a file that holds it, or `-` for stdin.",
      }),
      ...callFlags,
    },
    strict,
  ),
  words: ["aggregate", "event", "payload"],
  examples: [`dbx schema validate patient patient-added '{"name":"Jane"}'`],
  exits: { 6: "the event breaks its schema" },
  run: async (flags, shell) => {
    const { aggregate, event, token } = flags;
    const payload = await payloadOf({ payload: flags.payload }, shell);
    const checked = await asking({ shell, access: "read", token }, ({ ask }) =>
      ask("validateEvent", { aggregate, event, payload }),
    );
    if (shell.output.json) return shell.output.jsonValue(checked);
    return shell.output.data(pairs(checked));
  },
});
