// Long work on the one thread that answers everybody: it gives way now and then.

import { limits } from "../model/limits.ts";

/** Lets whatever waits run first. */
export const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** To be told, and awaited, how many characters were looked at; gives way every so many of them. */
export function createTurns(): (characters: number) => Promise<void> {
  let looked = 0;
  return async (characters) => {
    looked += characters;
    if (looked < limits.scan_chars_max) return;
    looked = 0;
    await nextTurn();
  };
}
