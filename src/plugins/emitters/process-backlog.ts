// Messages that a process was handed and may not have read: as much as its input can hold. Nobody
// tells dbx what a process has read, so when it ends the next one gets all of this again.

import { readFileSync } from "node:fs";
import type { PluginLimits } from "../../model/limits-plugins.ts";
import type { GivenUp } from "../emitter.ts";

/**
 * How much may lie unread: at least what the limit says, and twice what the system lets a socket
 * hold where somebody has made that larger. The last piece may be half of it besides.
 */
export function unreadBytes(bounds: PluginLimits): number {
  const { plugin_process_unread_bytes: least, plugin_process_unread_bytes_max: most } = bounds;
  try {
    const held = Number(readFileSync("/proc/sys/net/core/wmem_default", "utf8"));
    return Math.min(Math.max(least, 2 * held || 0), most);
  } catch {
    // Not Linux; others hold some kilobytes.
    return least;
  }
}

export interface Sent {
  readonly bytes: Uint8Array;
  readonly sequence: number;
  /** Which event it is. */
  readonly record: GivenUp["record"];
}

export interface Backlog {
  readonly add: (messages: readonly Sent[]) => void;
  /** In order. */
  readonly all: () => readonly Sent[];
  /** A process lived on after it got this one, and none behind it. */
  readonly survived: (message: Sent) => void;
  /** A process ended with it. Out: whether so many did that it is left out from now on. */
  readonly failed: (message: Sent) => boolean;
}

export function createBacklog(bounds: {
  readonly unread_bytes: number;
  readonly resends_max: number;
}): Backlog {
  let kept: Sent[] = [];
  let bytes = 0;
  const failures = new WeakMap<Sent, number>();
  const remove = (message: Sent) => {
    if (!kept.includes(message)) return;
    kept = kept.filter((other) => other !== message);
    bytes -= message.bytes.length;
  };
  return {
    add: (messages) => {
      for (const message of messages) {
        kept.push(message);
        bytes += message.bytes.length;
      }
      // What so much came after has been read.
      let read = 0;
      for (const message of kept) {
        if (bytes - message.bytes.length < bounds.unread_bytes) break;
        bytes -= message.bytes.length;
        read += 1;
      }
      kept = kept.slice(read);
    },
    all: () => kept,
    survived: remove,
    failed: (message) => {
      const count = (failures.get(message) ?? 0) + 1;
      failures.set(message, count);
      if (count < bounds.resends_max) return false;
      remove(message);
      return true;
    },
  };
}
