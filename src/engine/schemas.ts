// The schemas in force: read from `schemas.json`, looked at anew whenever the file has changed,
// whoever changed it. What a schema says and how it may change is in model/schema.

import type { Dbx } from "../api/dbx.ts";
import type { Log } from "../log.ts";
import type { Canonical } from "../model/canonical.ts";
import type { Restriction } from "../model/config.ts";
import {
  alreadyExists,
  assert,
  dataCorrupted,
  DbxError,
  failedPrecondition,
  invalidArgument,
  notFound,
  tooLarge,
  unavailable,
} from "../model/error.ts";
import { limits } from "../model/limits.ts";
import type { PlannedEvent } from "../model/plan.ts";
import { changeSchema, newSchema, removeSchemaEvent } from "../model/schema/change.ts";
import { patternBudget, type PatternBudget } from "../model/schema/budget.ts";
import { checkEvent } from "../model/schema/check.ts";
import { compileSchema, type CompiledSchema } from "../model/schema/compile.ts";
import { readSchema, splitSchemas, writeSchemas } from "../model/schema/document.ts";
import type { Schema } from "../model/schema/schema.ts";
import type { Visibility } from "../model/visibility.ts";
import { replaceDocument } from "../storage/documents.ts";
import type { Storage } from "../storage/storage.ts";
import type { System } from "../system.ts";
import type { NoteOf } from "./noting.ts";
import { createSchemasTelling, digestOf } from "./told-schemas.ts";
import { watchDocument } from "./watch.ts";

/** The schemas at one moment. */
export interface SchemaView {
  /**
   * Throws `schema_violation` where an event breaks its aggregate's schema, `too_large` where
   * nothing of the budget is left to find out.
   */
  readonly checkEvent: (
    restriction: Restriction,
    event: Pick<PlannedEvent, "aggregate_type" | "event_type" | "payload">,
    budget: PatternBudget,
  ) => void;
  /** The schema's own threshold, 0 for never; null where it has none or there is no schema. */
  readonly snapshotThresholdOf: (aggregate_type: string) => number | null;
  readonly visibilityOf: (aggregate_type: string) => Visibility;
  /** The schema as JSON; null where there is none. */
  readonly textOf: (aggregate_type: string) => string | null;
}

export interface Schemas {
  readonly operations: Pick<
    Dbx,
    | "createSchema"
    | "listSchemas"
    | "getSchema"
    | "changeSchema"
    | "applySchemas"
    | "removeSchemaEvent"
    | "validateEvent"
  >;
  /** Looks whether the file has changed, whoever changed it. Cheap: once per commit or request. */
  readonly view: () => SchemaView;
  /** Notes in the audit trail that the file was changed by somebody else, if it was. */
  readonly tellFile: () => Promise<void>;
  /** For `dbx status`: how many there are, and what is wrong with the file now, if anything. */
  readonly figures: () => Record<string, number | string>;
  /** Waits for the change that is under way, and refuses later ones. Looking goes on. */
  readonly close: () => Promise<void>;
}

/** Every schema of the file, ready for checking. */
type Compiled = ReadonlyMap<string, Ready>;

interface Ready extends CompiledSchema {
  /** What the file says of it: as long as that stays, it need not be compiled again. */
  readonly text: Canonical;
}

/**
 * Throws `data_corrupted` where the file is damaged: without its schemas nothing should start. A
 * file that is damaged later, or gone, leaves the last good schemas in force, and refuses changes
 * until somebody has repaired it, so that nobody's work is overwritten.
 */
export async function openSchemas(options: {
  /** `schemas.json`. Where it is missing or blank there are no schemas, unless there were some. */
  path: string;
  log: Log;
  system: System;
  /** Where nothing can be written, changes are refused. */
  writable: boolean;
  noteOf: NoteOf;
  storage: Pick<Storage, "readAuditBack">;
}): Promise<Schemas> {
  const { path, system, noteOf, log } = options;
  /** What was compiled last, in force or not. */
  let latest: Compiled = new Map();
  const telling = createSchemasTelling(options);
  let noticed = (): void => {};
  const compile = (text: string): Compiled => (latest = compileAll(text, latest));
  const file = watchDocument({
    ...options,
    bytes_max: limits.schemas_bytes_max,
    elapsed_ms: () => performance.now(),
    first: inForce(new Map()),
    parse: (text, { compiled }) => {
      if (compiled.size > 0) requireText(text);
      const found = inForce(compile(text ?? ""));
      noticed();
      return found;
    },
  });
  const damaged = file.fault();
  if (damaged !== null) throw damaged;
  let changing: Promise<unknown> = Promise.resolve();
  let closed = false;

  /** In turn with changes, which tell of themselves. */
  function tellFile(): Promise<void> {
    const result = changing.then(async () => {
      const { compiled } = file.look();
      if (options.writable && file.fault() === null) await telling.tellFile(compiled);
    });
    changing = result.catch(() => undefined);
    return result;
  }
  noticed = () => {
    if (closed) return;
    // It is told at the next change, or the next start.
    tellFile().catch((error: unknown) => log.warn("schemas not told", { reason: String(error) }));
  };

  function requireGood(): InForce {
    const good = file.look();
    const fault = file.fault();
    if (fault !== null) throw unrepaired(path, fault);
    return good;
  }

  async function change(
    step: (schemas: Compiled) => Schema,
    note: (changed: Schema, told: { schemas: string }) => Promise<void>,
  ): Promise<Schema> {
    let changed: Schema | undefined;
    await changeAll(
      (compiled) => {
        changed = step(compiled);
        return schemasOf(compiled).set(changed.aggregate, changed);
      },
      async (told) => (changed === undefined ? undefined : note(changed, told)),
    );
    assert(changed !== undefined, "a step that is made gives the schema");
    return changed;
  }

  /** One change at a time: on disk first, then in force. Out: how many schemas there are then. */
  function changeAll(
    step: (schemas: Compiled) => ReadonlyMap<string, Schema>,
    note: (told: { schemas: string }) => Promise<void>,
  ): Promise<number> {
    if (closed) return Promise.reject(unavailable("dbx is stopping"));
    const result = changing.then(async () => {
      if (!options.writable) throw failedPrecondition("the store is open for reading only");
      await telling.tellFile(requireGood().compiled);
      const { compiled } = requireGood();
      const schemas = step(compiled);
      const text = textOf(schemas);
      const after = readBack(text, compile);
      await note({ schemas: digestOf(after) });
      telling.told(after);
      await replaceDocument(path, text, { mode: 0o600 });
      file.look();
      return schemas.size;
    });
    // The caller has the error; the next change must still run.
    changing = result.catch(() => undefined);
    return result;
  }

  return {
    view: () => file.look().view,
    tellFile,
    figures: () => {
      const { compiled } = file.look();
      const fault = file.fault();
      return {
        schemas: compiled.size,
        ...(fault === null ? {} : { schemas_fault: fault.message }),
      };
    },
    close: async () => {
      closed = true;
      await changing;
    },
    operations: {
      createSchema: (actor, input) =>
        change(
          (schemas) => {
            const { aggregate } = input;
            if (schemas.has(aggregate)) throw alreadyExists("schema already exists", { aggregate });
            // Without a threshold of its own it follows the configured one, whenever that changes.
            return newSchema(input, { now: system.now(), snapshot_threshold: null });
          },
          (_, told) =>
            noteOf(actor)("schema.create", input.aggregate, { events: input.events, ...told }),
        ),
      changeSchema: (actor, { aggregate, ...changes }) =>
        change(
          (schemas) => changeSchema(find(schemas, aggregate), changes, { now: system.now() }),
          (_, told) => {
            const changed = Object.keys(changes).sort();
            return noteOf(actor)("schema.change", aggregate, { changed, ...told });
          },
        ),
      removeSchemaEvent: (actor, { aggregate, event }) =>
        change(
          (schemas) => removeSchemaEvent(find(schemas, aggregate), event, { now: system.now() }),
          (_, told) => noteOf(actor)("schema.change", aggregate, { removed_event: event, ...told }),
        ),
      applySchemas: async (actor, { schemas, remove }) => {
        const applied = schemas.map(({ aggregate }) => aggregate);
        const count = await changeAll(
          (compiled) => {
            const next = schemasOf(compiled);
            for (const name of remove) next.delete(name);
            for (const schema of schemas) next.set(schema.aggregate, schema);
            return next;
          },
          (told) => noteOf(actor)("schema.apply", null, { applied, removed: remove, ...told }),
        );
        return { schemas: count };
      },
      listSchemas: async () =>
        [...file.look().compiled.values()]
          .map(({ schema }) => schema)
          .sort((left, right) => (left.aggregate < right.aggregate ? -1 : 1)),
      getSchema: async (_actor, { aggregate }) => find(file.look().compiled, aggregate),
      validateEvent: async (_actor, { aggregate, event, payload }) => {
        const checked = { aggregate_type: aggregate, event_type: event, payload };
        // As `default` would: an event of a type without schema is fine, whatever the mode is now.
        file.look().view.checkEvent("default", checked, patternBudget());
        return { aggregate, event, validation: "ok" };
      },
    },
  };
}

const schemasOf = (compiled: Compiled): Map<string, Schema> =>
  new Map([...compiled].map(([name, { schema }]) => [name, schema]));

function find(schemas: Compiled, aggregate: string): Schema {
  const found = schemas.get(aggregate);
  if (found === undefined) throw notFound("schema not found", { aggregate });
  return found.schema;
}

const unrepaired = (path: string, fault: DbxError) =>
  failedPrecondition(
    `schemas cannot be changed before the file is repaired: ${fault.message}`,
    { path },
    { cause: fault },
  );

/** The file's text. Throws where it would be more than can be read back. */
function textOf(schemas: ReadonlyMap<string, Schema>): string {
  const { schema_entries_max, schemas_bytes_max } = limits;
  if (schemas.size > schema_entries_max) {
    throw failedPrecondition(`there are ${schema_entries_max} schemas already, the most dbx keeps`);
  }
  const text = writeSchemas(schemas);
  const bytes = Buffer.byteLength(text);
  if (bytes <= schemas_bytes_max) return text;
  throw tooLarge(`all schemas together have ${bytes} bytes, the limit is ${schemas_bytes_max}`, {
    bytes,
    limit: schemas_bytes_max,
  });
}

/** Whatever a change got past the gate, the file it leaves must be one that dbx starts on. */
function readBack(text: string, compile: (text: string) => Compiled): Compiled {
  try {
    return compile(text);
  } catch (cause) {
    if (!(cause instanceof DbxError) || cause.code === "too_large") throw cause;
    const message = `invalid schema: it could not be read back: ${cause.message}`;
    throw invalidArgument(message, cause.details, { cause });
  }
}

/** What is in force. */
interface InForce {
  readonly compiled: Compiled;
  readonly view: SchemaView;
}

function inForce(compiled: Compiled): InForce {
  const view: SchemaView = {
    checkEvent: (restriction, event, budget) =>
      checkEvent(restriction, compiled.get(event.aggregate_type), event, budget),
    snapshotThresholdOf: (type) => compiled.get(type)?.schema.snapshot_threshold ?? null,
    visibilityOf: (type) => compiled.get(type)?.schema ?? visible,
    textOf: (type) => compiled.get(type)?.text ?? null,
  };
  return { compiled, view };
}

const visible: Visibility = { hidden: false, hidden_fields: [] };

/** Throws for a file that should have schemas, and has nothing at all. */
function requireText(text: string | null): void {
  if (text !== null && text.trim() !== "") return;
  // So a write under way leaves it, an editor between two renames, a link whose target moves, or a
  // full disk. Nobody asked for events unchecked, and for hidden ones shown.
  const found = text === null ? "missing" : "empty";
  throw dataCorrupted(`schemas.json is ${found}; restore it, or write {} to have no schemas`);
}

/** Those that say what they said before are taken over: compiling patterns takes its time. */
function compileAll(document: string, before: Compiled): Compiled {
  const all = new Map<string, Ready>();
  let chars = 0;
  for (const [name, text] of splitSchemas(document)) {
    const known = before.get(name);
    const compiled = known?.text === text ? known : compileNamed(readSchema(name, text));
    // This text and no equal one: a part of a document keeps the whole of it in memory.
    all.set(name, { ...compiled, text });
    chars += compiled.pattern_chars;
    if (chars > limits.schemas_pattern_chars_max) throw tooManyPatterns();
  }
  return all;
}

const tooManyPatterns = () => {
  const limit = limits.schemas_pattern_chars_max;
  return tooLarge(`all schemas together have more than ${limit} characters of patterns`, { limit });
};

function compileNamed(schema: Schema): CompiledSchema {
  try {
    return compileSchema(schema);
  } catch (cause) {
    if (!(cause instanceof DbxError)) throw cause;
    const { aggregate } = schema;
    const message = `schemas.json: schema ${aggregate}: ${cause.message}`;
    throw dataCorrupted(message, { ...cause.details, aggregate }, { cause });
  }
}
