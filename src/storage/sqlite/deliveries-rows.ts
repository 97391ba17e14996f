// Rows of plugins.db and what they mean. What may hold a secret, or what a receiver said, is JSON,
// sealed where the store is: a text of JSON is never taken for a sealed one.

import { dataCorrupted } from "../../model/error.ts";
import type { Delivery, PluginConfig } from "../../model/plugin.ts";
import type { PluginEntry } from "../deliveries.ts";
import { isSealed } from "../seal.ts";
import type { Vault } from "../storage.ts";

export interface PluginRow {
  readonly plugin_id: number;
  readonly name: string;
  readonly enabled: number;
  readonly config: string;
  readonly checkpoint: number;
  readonly sequence: number;
  readonly dropped: number;
  readonly pending: number;
  readonly dead: number;
}

export interface DeliveryRow extends Omit<Delivery, "plugin" | "dead"> {
  readonly dead: number;
}

/** Which value of which plugin: bound in, so that no other opens in its place. */
interface Field {
  readonly plugin: string;
  readonly field: string;
}

export interface DeliverySeals {
  readonly sealConfig: (plugin: string, config: PluginConfig) => string;
  readonly sealError: (
    plugin: string,
    delivery: Pick<Delivery, "position" | "last_error">,
  ) => string | null;
  /** Seals a text that is kept in clear. */
  readonly resealed: (text: string, field: Field) => string;
  readonly toEntry: (row: PluginRow) => PluginEntry;
  readonly toDelivery: (plugin: string, row: DeliveryRow) => Delivery;
}

export function createSeals(vault: Vault | null): DeliverySeals {
  // JSON, so that a name with a slash cannot be another plugin's field.
  const purposeOf = ({ plugin, field }: Field): string => JSON.stringify(["plugin", plugin, field]);
  const resealed = (text: string, of: Field): string => vault?.seal(purposeOf(of), text) ?? text;
  const keep = (value: unknown, of: Field): string => resealed(JSON.stringify(value), of);
  const open = (text: string, of: Field): unknown => {
    if (vault !== null) return parsed(vault.unseal(purposeOf(of), text), of);
    if (!isSealed(text)) return parsed(text, of);
    const { plugin } = of;
    throw dataCorrupted("plugins.db is encrypted, but this store is not; it is of another one", {
      plugin,
    });
  };
  return {
    resealed,
    sealConfig: (plugin, config) => keep(config, { plugin, field: "config" }),
    sealError: (plugin, { position, last_error }) =>
      last_error === null ? null : keep(last_error, { plugin, field: `error/${position}` }),
    toEntry: ({ name, enabled, config, checkpoint, sequence, dropped, pending, dead }) => ({
      plugin: {
        enabled: enabled === 1,
        name,
        config: open(config, { plugin: name, field: "config" }) as PluginConfig,
      },
      ...{ checkpoint, sequence, dropped, pending, dead },
    }),
    toDelivery: (plugin, { dead, last_error, ...row }) => ({
      plugin,
      ...row,
      dead: dead === 1,
      last_error:
        last_error === null
          ? null
          : String(open(last_error, { plugin, field: `error/${row.position}` })),
    }),
  };
}

/** dbx wrote it itself, from what the operation table had checked. */
function parsed(text: string, { plugin, field }: Field): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw dataCorrupted(`plugins.db is damaged: ${field} of '${plugin}'`, { plugin }, { cause });
  }
}
