// Changes of schemas.json in the audit trail that nobody asked dbx for: somebody's editor, or a
// copy from elsewhere. Each entry about schemas has a digest of all of them as they are after it,
// so that a file which says anything else is noticed.

import { detailsOf, type AuditEntry } from "../model/audit.ts";
import { canonicalOf, type Canonical } from "../model/canonical.ts";
import { limits } from "../model/limits.ts";
import { sha256 } from "../model/merkle.ts";
import type { Storage } from "../storage/storage.ts";
import { lastEntry } from "./audit-reads.ts";
import type { NoteOf } from "./noting.ts";

/** What the file says of each schema. */
export type SchemaTexts = ReadonlyMap<string, { readonly text: Canonical }>;

export interface SchemasTelling {
  /** Notes that the file has changed, if it is not as the trail says; by nobody, who is not known. */
  readonly tellFile: (now: SchemaTexts) => Promise<void>;
  /** The trail has an entry with the digest of these. */
  readonly told: (now: SchemaTexts) => void;
}

export function createSchemasTelling(deps: {
  readonly storage: Pick<Storage, "readAuditBack">;
  readonly noteOf: NoteOf;
}): SchemasTelling {
  const { storage, noteOf } = deps;
  /** Only this process writes to the trail, so it is looked for once. */
  let known: { readonly digest: string; readonly texts: SchemaTexts | null } | null = null;

  return {
    told: (now) => {
      known = { digest: digestOf(now), texts: now };
    },
    tellFile: async (now) => {
      if (known?.texts === now) return;
      const digest = digestOf(now);
      known ??= { digest: toldBy(await lastEntry(storage, isOfSchemas)) ?? digest, texts: null };
      if (known.digest !== digest) {
        const changed = known.texts === null ? null : namesChanged(known.texts, now);
        await noteOf(null)("schema.change", null, { file: true, changed, schemas: digest });
      }
      known = { digest, texts: now };
    },
  };
}

/** Of all schemas; how the file is laid out does not count. */
export const digestOf = (schemas: SchemaTexts): string =>
  sha256(
    canonicalOf(Object.fromEntries([...schemas].map(([name, { text }]) => [name, text]))),
  ).toHex();

const isOfSchemas = ({ action }: AuditEntry): boolean => action.startsWith("schema.");

/** Undefined where the entry is from before there were digests: then nobody knows. */
function toldBy(entry: AuditEntry | undefined): string | undefined {
  if (entry === undefined) return digestOf(new Map());
  const { schemas } = detailsOf(entry);
  return typeof schemas === "string" ? schemas : undefined;
}

/** Those that are new, gone, or say something else. */
const namesChanged = (before: SchemaTexts, after: SchemaTexts): string[] =>
  [...new Set([...before.keys(), ...after.keys()])]
    .filter((name) => before.get(name)?.text !== after.get(name)?.text)
    .sort()
    .slice(0, limits.audit_ids_max);
