// Whether an event may be appended under the restriction in force and its aggregate's schema. The
// order of checks is part of what is promised: the first fault is the one that is told.

import { splitMembers, type Canonical } from "../canonical.ts";
import type { Restriction } from "../config.ts";
import type { PatternBudget } from "./budget.ts";
import type { CompiledSchema, Match, Place } from "./compile.ts";
import { schemaViolation, shown } from "./fault.ts";

interface CheckedEvent {
  readonly aggregate_type: string;
  readonly event_type: string;
  readonly payload: Canonical;
}

/** What is wrong, as a sentence, and with which field. */
interface Fault {
  readonly message: string;
  readonly field?: string;
}

type Members = ReadonlyMap<string, Canonical>;

/**
 * Throws `schema_violation` with `details.aggregate_type`, `event` and, where there is one, `field`
 * (a dotted path). `off` checks nothing, `default` where there is a schema, `strict` needs one.
 * Throws `too_large` where matching its patterns would exceed the budget.
 */
export function checkEvent(
  restriction: Restriction,
  compiled: CompiledSchema | undefined,
  event: CheckedEvent,
  budget: PatternBudget,
): void {
  if (restriction === "off") return;
  const { aggregate_type, event_type } = event;
  if (compiled === undefined) {
    if (restriction === "default") return;
    throw schemaViolation(
      `aggregate ${aggregate_type} requires a schema before events can be appended ` +
        "when restrict=strict",
      { aggregate_type },
    );
  }
  const fault = faultOf(compiled, event, budget);
  if (fault === null) return;
  const { message, field } = fault;
  throw schemaViolation(message, {
    aggregate_type,
    event: event_type,
    ...(field === undefined ? {} : { field }),
  });
}

function faultOf(
  compiled: CompiledSchema,
  event: CheckedEvent,
  budget: PatternBudget,
): Fault | null {
  const { aggregate_type, event_type, payload } = event;
  const { schema, events, columns } = compiled;
  if (schema.locked) return { message: `aggregate ${aggregate_type} is locked for updates` };
  const isObject = payload.startsWith("{");
  // What is no object is one member of the state.
  const members: Members = new Map(isObject ? splitMembers(payload) : [["_value", payload]]);
  if (compiled.fieldLocks.size > 0) {
    for (const key of members.keys()) {
      if (!compiled.fieldLocks.has(key)) continue;
      return { message: `field ${key} is locked for aggregate ${aggregate_type}`, field: key };
    }
  }
  const fields = events.get(event_type);
  if (fields === undefined)
    return { message: `event ${event_type} is not defined for aggregate ${aggregate_type}` };
  const misfit = fieldsFault(fields, members, event_type);
  if (misfit !== null || columns.length === 0) return misfit;
  if (!isObject)
    return { message: `aggregate ${aggregate_type} expects object payload for validation` };
  return columnsFault(compiled, members, budget);
}

function fieldsFault(fields: ReadonlySet<string>, members: Members, event: string): Fault | null {
  if (fields.size === 0) return null;
  for (const field of fields) {
    if (!members.has(field))
      return { message: `missing required field ${field} for event ${event}`, field };
  }
  for (const key of members.keys()) {
    if (fields.has(key)) continue;
    const field = shown(key);
    return { message: `field ${field} is not permitted for event ${event}`, field };
  }
  return null;
}

/** First every column by itself, then those that must match others, whose types are right now. */
function columnsFault(
  { columns, matches }: CompiledSchema,
  root: Members,
  budget: PatternBudget,
): Fault | null {
  /** The objects that have columns, by path: each is taken apart once. */
  const objects = new Map<string, Members>([["", root]]);
  for (const column of columns) {
    const { path } = column;
    const members = objects.get(column.parent);
    // Without the object around it a column asks for nothing.
    if (members === undefined) continue;
    const value = members.get(column.name);
    if (value === undefined) {
      if (column.required) return { message: `field ${path} is required`, field: path };
      continue;
    }
    const message = column.fault(value, budget);
    if (message !== null) return { message, field: path };
    // A json column may hold something else than an object; then its properties ask for nothing.
    if (column.hasProperties && value.startsWith("{"))
      objects.set(path, new Map(splitMembers(value)));
  }
  const at = ({ parent, name }: Place) => objects.get(parent)?.get(name);
  for (const match of matches) {
    const message = matchFault(match, at);
    if (message !== null) return { message, field: match.path };
  }
  return null;
}

function matchFault(match: Match, at: (place: Place) => Canonical | undefined): string | null {
  const value = at(match.column);
  if (value === undefined) return null;
  const wanted = at(match.target);
  const { path, targetPath } = match;
  if (wanted === undefined)
    return `field ${path} must match ${targetPath}, but ${targetPath} is missing`;
  return match.same(value, wanted) ? null : `field ${path} must match ${targetPath}`;
}
