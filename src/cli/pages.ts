// Pages of lists: how large a one to ask for, where all of something is wanted and the other side
// refuses pages above its bound of bytes; and how somebody who wants one page gets the next.

import { DbxError } from "../model/error.ts";
import { limits } from "../model/limits.ts";
import type { Output } from "./output.ts";

/** Asks for pages of one list, which are as large as they were last taken, and then larger. */
export function createPager() {
  let size: number = limits.scan_rows_max;
  /** A page of `most` rows at most. Throws what `ask` throws, `too_large` only for a single row. */
  return async <Page>(most: number, ask: (take: number) => Promise<Page>): Promise<Page> => {
    for (;;) {
      const take = Math.min(size, most);
      try {
        const page = await ask(take);
        // Slowly, because a refusal costs the other side as much as a page.
        size = Math.min(size + Math.ceil(size / 8), limits.scan_rows_max);
        return page;
      } catch (error) {
        if (!(error instanceof DbxError) || error.code !== "too_large" || take <= 1) throw error;
        size = Math.floor(take / 2);
      }
    }
  };
}

/** Says that more follows, and by which flag; on stderr, because stdout holds the page alone. */
export function tellMore(
  output: Output,
  { flag, value }: { flag: "cursor" | "after" | "before"; value: string | number },
): void {
  output.words(
    output.json ? JSON.stringify({ [`next_${flag}`]: value }) : `more: --${flag} ${value}`,
  );
}
