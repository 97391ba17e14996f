// Changes of the configuration in the audit trail, whoever made them: what is read is compared with
// what the trail itself said last, so that an edit by hand and a variable of the environment are
// noticed like a command.

import type { Actor } from "../model/actor.ts";
import { detailsOf, type AuditEntry } from "../model/audit.ts";
import type { Config } from "../model/config.ts";
import {
  changedSettings,
  partsOf,
  signOf,
  toldSettings,
  type ToldSettings,
} from "../model/config-values.ts";
import type { Storage } from "../storage/storage.ts";
import { lastEntry } from "./audit-reads.ts";
import type { NoteOf } from "./noting.ts";

type Who = Pick<Actor, "group" | "user">;

/** Each notes what differs from what the trail said last, and nothing where nothing does. */
export interface Telling {
  readonly tellSettings: (actor: Who, config: Config) => Promise<void>;
  /** Of another data encryption key alone, by whoever put it in the place of the one before. */
  readonly tellKey: (actor: Who, data_encryption_key: string) => Promise<void>;
}

/** `data_dir`: where the trail lies. */
export function createTelling(deps: {
  readonly storage: Pick<Storage, "readAuditBack">;
  readonly noteOf: NoteOf;
  readonly data_dir: string;
}): Telling {
  const { storage, noteOf, data_dir } = deps;
  /** Only this process writes to the trail, so it is looked for once. */
  let known: ToldSettings | null = null;
  let last: Promise<void> = Promise.resolve();

  /** One after the other: each stands on what the one before has said. */
  const tell = (
    actor: Who,
    next: (before: ToldSettings) => { settings: ToldSettings; changed: ToldSettings },
  ): Promise<void> => {
    const mine = last.then(async () => {
      known ??= toldBy(await lastEntry(storage, isTold));
      const { settings, changed } = next(known);
      if (Object.keys(changed).length === 0) return;
      await noteOf(actor)("config.change", null, { changed, settings });
      known = settings;
    });
    last = mine.catch(() => undefined);
    return mine;
  };

  return {
    tellSettings: (actor, config) =>
      tell(actor, (before) => {
        const settings = toldSettings(config, { data_dir });
        return { settings, changed: changedSettings(before, settings, config) };
      }),
    tellKey: (actor, data_encryption_key) =>
      tell(actor, (before) => {
        const settings = { ...before, data_encryption_key: signOf(data_encryption_key) };
        const was = before["data_encryption_key"];
        if (was === settings.data_encryption_key) return { settings, changed: {} };
        const changed = { data_encryption_key: was === undefined ? "set" : "changed" };
        return { settings, changed };
      }),
  };
}

/** Where nothing was ever told, everything was at its default. */
const toldBy = (entry: AuditEntry | undefined): ToldSettings =>
  entry === undefined ? {} : partsOf(detailsOf(entry)["settings"]);

const isTold = ({ action }: AuditEntry): boolean => action === "config.change";
